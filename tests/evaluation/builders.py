"""Builders of truths, masks and run folders, all made up on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.running.outcomes import Status
from evaluation.running.records import CaseRecord, RecordLog
from evaluation.running.run_folder import TeamFolder, write_json
from evaluation.scoring.score_tables import SCORES_FILE, ScoreRow, write_table


def disk(shape: tuple[int, ...], centre: Sequence[float], radius: float) -> NDArray[np.bool_]:
    """A disk or ball of the pixels nearer than `radius` to `centre`."""
    axes = np.meshgrid(*[np.arange(size) for size in shape], indexing="ij")
    squares = [(axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)]
    return np.sum(squares, axis=0) < radius**2


def random_mask(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask of random density, sometimes empty, sometimes full, often on the border."""
    return rng.random(shape) < rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], p=[0.1, 0.3, 0.3, 0.2, 0.1])


def write_truth(
    folder: Path, case: str, labels: NDArray, spacing_xyz: Sequence[float] | None = None
) -> Path:
    """A truth file, with a spacing as files store it (x, y, z)."""
    folder.mkdir(parents=True, exist_ok=True)
    more = {} if spacing_xyz is None else {"spacing": np.array(spacing_xyz, dtype=float)}
    np.savez_compressed(folder / f"{case}.npz", gts=labels, **more)
    return folder / f"{case}.npz"


def write_input(folder: Path, case: str, image: NDArray, boxes: Sequence[Sequence[int]]) -> Path:
    """An input file without truth."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{case}.npz", imgs=image, boxes=np.array(boxes))
    return folder / f"{case}.npz"


def add_result(
    run: Path,
    team: str,
    case: str,
    segs: NDArray | None = None,
    *,
    status: Status = Status.OK,
    reason: str = "",
    wall_s: float | None = 1.0,
    modality: str = "CT",
    runner: str = "docker",
    submission: str = "sha256:0",
) -> Path:
    """Append a record as `run` writes it, and a mask unless `segs` is None; the mask's path."""
    folder = TeamFolder(run / team)
    folder.create()
    dimensions = 3 if segs is not None and segs.ndim == 3 else 2
    with RecordLog(folder.records) as log:
        log.append(
            CaseRecord(
                case=case, modality=modality, dimensions=dimensions, status=status, reason=reason,
                exit_code=0, oom_killed=False, wall_s=wall_s, runner=runner,
                started_at="2024-01-01T00:00:00+00:00", submission=submission,
                case_sha256="0", protocol_sha256="0",
            )
        )  # fmt: skip
    if segs is not None:
        np.savez_compressed(folder.mask(case), segs=segs)
    return folder.mask(case)


def describe_team(run: Path, team: str, **content: object) -> None:
    """A team.json."""
    write_json(TeamFolder(run / team).description, {"team": team, **content})


def score_row(team: str, case: str, dsc: float | None = 1.0, **more: object) -> ScoreRow:
    """A row of scores.csv of a 2D CT case that is ok unless told otherwise."""
    values: dict[str, object] = {
        "modality": "CT", "dimensions": 2, "status": "ok", "reason": "", "wall_s": 1.0,
        "nsd": dsc, "dsc_official": dsc, "nsd_official": dsc, "official_remark": "",
        "dsc_difference": 0.0, "nsd_difference": 0.0,
        "instance_f1": 1.0, "instance_dsc": None, "instance_matches": 1,
        "labels": 1, "false_positive_labels": 0, "false_positive_voxels": 0,
        "tolerance": 2.0, "spacing_mm": "1 1", "spacing_origin": "pixels",
    }  # fmt: skip
    return ScoreRow(team=team, case=case, dsc=dsc, **(values | more))  # type: ignore[arg-type]


def write_scores(run: Path, *rows: ScoreRow) -> None:
    """The scores.csv of every team of some rows."""
    for team in sorted({row.team for row in rows}):
        (run / team).mkdir(parents=True, exist_ok=True)
        own = [row for row in rows if row.team == team]
        write_table(run / team / SCORES_FILE, ScoreRow, own)
