"""``selftest``: submissions whose scores are known beforehand, scored on the truth at hand.

Run it on the truth of a challenge before the first submission arrives: a scorer, or a truth, that
does not give these values would have given every team wrong ones.

- *truth*: the truth itself scores 1.0 in DSC and NSD.
- *empty*: a mask without labels scores 0 in both (1.0 where the truth has no labels either).
- *permuted*: the first two of L labels are swapped. Labels do not overlap, so those two score a DSC
  of 0 and the others 1: (L - 2) / L. A single label takes a number that the truth lacks: 0. The NSD
  is at least as high, since borders that touch are near each other.
- *half*: of each label's n voxels the first k = ceil(n / 2) are kept: a DSC of 2 k / (n + k).
- *moved*, of a made-up block whose voxels are 3 x 1 x 2 mm (z, y, x), by one voxel along each axis:
  an NSD of 1 where that is at most the tolerance of 2 mm, along y and x, and less along z.
"""

import argparse
import logging
import math
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.dataset import modality_of
from evaluation.errors import ScoreError
from evaluation.metrics.label_maps import Labels
from evaluation.progress import Progress
from evaluation.running.outcomes import Status
from evaluation.running.records import CaseRecord, RecordLog
from evaluation.running.run_folder import TeamFolder
from evaluation.scoring.labelmaps import read_truth
from evaluation.scoring.score_tables import ScoreRow
from evaluation.scoring.scores import score_run

logger = logging.getLogger(__name__)

ROUNDING = 1e-9
"""Room for the order of a few sums; every known value is a small fraction."""


@dataclass(frozen=True)
class Known:
    """The scores that a submission must get on a case."""

    dsc: float
    nsd: float
    nsd_is_exact: bool = True
    """Otherwise it may be higher."""
    nsd_below: float = math.inf
    """And not as high as this."""

    def fits(self, row: ScoreRow) -> bool:
        """Return whether a row of scores.csv has these values."""
        if row.dsc is None or row.nsd is None or abs(row.dsc - self.dsc) > ROUNDING:
            return False
        if self.nsd_is_exact:
            return abs(row.nsd - self.nsd) <= ROUNDING
        return self.nsd - ROUNDING <= row.nsd < self.nsd_below


MOVED = "moved"
"""Team of the made-up block."""

Answer = Callable[[Labels], tuple[Labels, Known]]
"""What a submission answers to a truth, and what it must score."""


def answer_truth(truth: Labels) -> tuple[Labels, Known]:
    """Return the truth."""
    return truth, Known(1.0, 1.0)


def answer_empty(truth: Labels) -> tuple[Labels, Known]:
    """Return no labels at all."""
    score = 0.0 if truth.any() else 1.0
    return np.zeros_like(truth), Known(score, score)


def answer_permuted(truth: Labels) -> tuple[Labels, Known]:
    """Return the truth with its first two labels swapped."""
    labels = [int(label) for label in np.unique(truth) if label]
    if not labels:
        return truth, Known(1.0, 1.0)
    first, second = labels[0], labels[1] if len(labels) > 1 else labels[0] + 1
    permuted = truth.astype(np.int64)
    permuted[truth == first], permuted[truth == second] = second, first
    known = max(len(labels) - 2, 0) / len(labels)
    return permuted, Known(known, known, nsd_is_exact=False)


def answer_half(truth: Labels) -> tuple[Labels, Known]:
    """Return the first half of each label, in the order in which voxels are stored."""
    kept, scores = np.zeros_like(truth), []
    for label in (int(label) for label in np.unique(truth) if label):
        places = np.flatnonzero(truth == label)
        half = places[: -(-len(places) // 2)]
        kept.flat[half] = label
        scores.append(2 * len(half) / (len(places) + len(half)))
    return kept, Known(math.fsum(scores) / len(scores) if scores else 1.0, 0.0, nsd_is_exact=False)


ANSWERS: dict[str, Answer] = {
    "truth": answer_truth,
    "empty": answer_empty,
    "permuted": answer_permuted,
    "half": answer_half,
}
"""Each is a team of the self-test's run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``selftest``."""
    parser.add_argument(
        "--truth", type=Path, required=True, metavar="DIR", help="folder of <case>.npz with gts"
    )
    parser.add_argument(
        "--cases", type=Path, metavar="DIR", help="input folder, for spacings that the truth lacks"
    )
    parser.add_argument(
        "--out", type=Path, metavar="RUN", help="keep the run here; otherwise it is thrown away"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="cases at a time")


def execute(args: argparse.Namespace) -> int:
    """Score the known submissions; 1 when any case of any has another score than it must."""
    with ExitStack() as stack:
        run = args.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        known = write_submissions(run, args.truth, args.cases)
        results = score_run(run, args.truth, cases=args.cases, workers=args.workers)
        moved = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        known |= write_moved(moved / "run", moved / "truth")
        results += score_run(moved / "run", moved / "truth")
    rows = [row for result in results for row in result.scores]
    wrong = [row for row in rows if not known[row.team, row.case].fits(row)]
    for row in wrong:
        expected = known[row.team, row.case]
        found = f"DSC {row.dsc}, NSD {row.nsd} ({row.status} {row.reason})"
        least = "" if expected.nsd_is_exact else "at least "
        wanted = f"DSC {expected.dsc:g}, NSD {least}{expected.nsd:g}"
        logger.error("%s, %s: expected %s, found %s", row.team, row.case, wanted, found)
    for team in (*ANSWERS, MOVED):
        own = [row for row in rows if row.team == team]
        right = len(own) - sum(row.team == team for row in wrong)
        logger.info("%s: %d of %d cases score what they must", team, right, len(own))
    return 1 if wrong else 0


def write_submissions(
    run: Path, truth: Path, cases: Path | None = None
) -> dict[tuple[str, str], Known]:
    """Write a run of the known submissions; return what each team must score on each case."""
    paths = sorted(truth.glob("*.npz")) if truth.is_dir() else []
    if not paths:
        raise ScoreError(f"{truth}: expected truths (*.npz), found none")
    if any((run / team).exists() for team in ANSWERS):
        raise ScoreError(f"{run}: expected no earlier self-test, found one")
    known: dict[tuple[str, str], Known] = {}
    with ExitStack() as stack:
        progress = stack.enter_context(Progress("answers", len(paths)))
        logs = {}
        for team in ANSWERS:
            TeamFolder(run / team).create()
            logs[team] = stack.enter_context(RecordLog(TeamFolder(run / team).records))
        for path in paths:
            labels = read_truth(path, cases / path.name if cases else None).labels
            for team, answer in ANSWERS.items():
                mask, known[team, path.stem] = answer(labels)
                np.savez_compressed(TeamFolder(run / team).mask(path.stem), segs=mask)
                logs[team].append(_record(path.stem, labels.ndim))
            progress.advance()
    return known


def write_moved(run: Path, truth: Path) -> dict[tuple[str, str], Known]:
    """Write a run of a block that is moved by one voxel along each axis, and its truth; return
    what it must score."""
    block = np.zeros((12, 14, 16), np.uint8)
    block[3:8, 4:10, 5:11] = 1
    truth.mkdir(parents=True)
    TeamFolder(run / MOVED).create()
    known = {}
    with RecordLog(TeamFolder(run / MOVED).records) as log:
        for axis, name in enumerate("zyx"):
            case, side = f"3DBox_CT_{name}", block.any(tuple({0, 1, 2} - {axis})).sum()
            np.savez_compressed(truth / f"{case}.npz", gts=block, spacing=(2.0, 1.0, 3.0))
            segs = np.roll(block, 1, axis)
            np.savez_compressed(TeamFolder(run / MOVED).mask(case), segs=segs)
            log.append(_record(case, 3))
            far = name == "z"
            known[MOVED, case] = Known(
                float(1 - 1 / side), 0.0 if far else 1.0, not far, 1.0 if far else math.inf
            )
    return known


def _record(case: str, dimensions: int) -> CaseRecord:
    return CaseRecord(
        case=case,
        modality=modality_of(case),
        dimensions=dimensions,
        status=Status.OK,
        reason="",
        exit_code=0,
        oom_killed=False,
        wall_s=0.0,
        started_at="",
        runner="selftest",
        submission="",
        case_sha256="",
        protocol_sha256="",
    )
