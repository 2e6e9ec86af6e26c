"""One case of all teams: each mask judged and scored against the truth, which is read once.

A mask that is missing or broken scores the failure values of its team's protocol and keeps its
reason, and so does a container that failed, whatever it left behind. The official numbers beside
them are those that the organisers' script gives for the same files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.errors import ScoreError
from evaluation.metrics.label_maps import LabelMap, empty_map, map_labels
from evaluation.metrics.label_scores import TOLERANCE, CaseScore, score_maps
from evaluation.running.outcomes import Status
from evaluation.running.records import CaseRecord
from evaluation.scoring.labelmaps import (
    MaskFault,
    Truth,
    read_mask,
    read_mask_leniently,
    read_truth,
)
from evaluation.scoring.official import OfficialScore, official_score
from evaluation.scoring.score_cache import (
    TeamRows,
    digest_or_none,
    entry_name,
    keep_rows,
    load_rows,
)
from evaluation.scoring.score_tables import NO_TRUTH, NOT_RUN, OK, LabelRow, ScoreRow
from evaluation.scoring.truth_cache import keep_truth, load_truth

FAILURE_F1 = 0.0
"""Instance F1 of a case that failed, by our choice: the worst that it can be, also where neither
truth nor mask has an object. No protocol sets it, as no ranking uses it."""


@dataclass(frozen=True)
class FailureScores:
    """What a case that failed counts as, by the protocol that it was run under."""

    dsc: float = 0.0
    nsd: float = 0.0


@dataclass(frozen=True)
class CaseTask:
    """One case of all teams: what a worker needs, and nothing that it need not be sent."""

    case: str
    modality: str
    dimensions: int | None
    """By the record; the truth's array counts where there is one."""
    truth: Path
    case_file: Path | None
    """Input file of the case, where a truth without a spacing finds it."""
    records: dict[str, CaseRecord | None]
    masks: dict[str, Path]
    failures: dict[str, FailureScores] = field(default_factory=dict)
    """By team; the worst for a team without any."""
    distances: bool = False
    """Whether labels get HD95 and ASSD."""
    recorded: bool = True
    """False for masks without records, where a mask is all there is to judge."""
    cache: Path | None = None
    """Folder of finished results; none keeps nothing."""


@dataclass(frozen=True)
class CaseRows:
    """The rows of one case, a score for each team and their labels; `fault` is the truth's."""

    scores: tuple[ScoreRow, ...]
    labels: tuple[LabelRow, ...]
    fault: str = ""


def score_task(task: CaseTask) -> CaseRows:
    """Score one case of every team; the truth is only read if some result is not kept."""
    rows: dict[str, TeamRows] = {}
    names: dict[str, str] = {}
    truth_name = ""
    if task.cache:
        own = [task.truth, task.case_file]  # the organisers' files, which may be links
        inputs = [digest_or_none(path.resolve()) if path else None for path in own]
        truth_name = entry_name({}, inputs)
        names = {team: _result_name(task, team, inputs) for team in task.records}
        kept = {team: load_rows(task.cache, name) for team, name in names.items()}
        rows = {team: found for team, found in kept.items() if found is not None}
    if len(rows) < len(task.records):
        try:
            truth = _truth(task, truth_name)
        except ScoreError as error:
            faulty = [_row(task, team, NO_TRUTH, str(error), None, None) for team in task.records]
            return CaseRows(tuple(faulty), (), fault=str(error))
        for team in task.records.keys() - rows.keys():
            rows[team] = _score_team(task, team, truth)
            if task.cache:
                keep_rows(task.cache, names[team], rows[team])
    ordered = [rows[team] for team in task.records]
    return CaseRows(
        scores=tuple(score for score, _ in ordered),
        labels=tuple(label for _, labels in ordered for label in labels),
    )


def _truth(task: CaseTask, name: str) -> Truth:
    """The truth as it was kept, or else read and kept."""
    truth = load_truth(task.cache, name) if task.cache else None
    if truth is None:
        truth = read_truth(task.truth, task.case_file)
        if task.cache:
            keep_truth(task.cache, name, truth)
    return truth


def _result_name(task: CaseTask, team: str, inputs: Sequence[str | None]) -> str:
    record = task.records[team]
    facts: dict[str, object] = {
        "team": team,
        "case": task.case,
        "modality": task.modality,
        "distances": task.distances,
        "recorded": task.recorded,
        "failure": dataclasses.astuple(_failure(task, team)),
        "record": None if record is None else [record.status, record.reason, record.wall_s],
    }
    return entry_name(facts, [*inputs, digest_or_none(task.masks[team])])


def _failure(task: CaseTask, team: str) -> FailureScores:
    return task.failures.get(team, FailureScores())


def _score_team(task: CaseTask, team: str, truth: Truth) -> TeamRows:
    verdict = _judge(task, team, truth)
    return _row(task, team, verdict.status, verdict.reason, truth, verdict), tuple(
        LabelRow(team=team, case=task.case, **vars(label)) for label in verdict.score.labels
    )


@dataclass(frozen=True)
class _Verdict:
    """What became of one team on one case."""

    status: str
    reason: str
    score: CaseScore
    official: OfficialScore


def _judge(task: CaseTask, team: str, truth: Truth) -> _Verdict:
    """Score one team on one case, whatever its mask is."""
    record, mask = task.records[team], task.masks[team]
    status, reason = OK, ""
    if record is None and task.recorded:
        status, reason = NOT_RUN, "no record of this case"
    elif record is not None and record.status is not Status.OK:
        status, reason = str(record.status), record.reason
    else:
        try:
            labels = read_mask(mask, truth.labels.shape)
        except MaskFault as fault:
            status, reason = fault.status, str(fault)
    if status == OK:
        score = _score(truth, map_labels(labels), task.distances)
        return _Verdict(OK, "", score, official_score(task.case, truth, labels, score))
    failed = _failed(truth, _failure(task, team), task.distances)
    try:
        if status == NOT_RUN:  # a mask that lies there is of another submission, or nobody's
            raise MaskFault(status, reason)
        found = read_mask_leniently(mask, truth.labels.shape)
    except MaskFault as fault:
        official = official_score(task.case, truth, None, failed, str(fault))
    else:
        official = official_score(task.case, truth, found, _score(truth, map_labels(found), False))
    return _Verdict(status, reason, failed, official)


def _score(truth: Truth, labels: LabelMap, distances: bool) -> CaseScore:
    official_spacing_mm = (1.0, 1.0, 1.0) if truth.labels.ndim == 2 else truth.spacing_mm[::-1]
    return score_maps(
        truth.map,
        labels,
        truth.spacing_mm,
        official_spacing_mm=official_spacing_mm,
        distances=distances,
    )


def _failed(truth: Truth, failure: FailureScores, distances: bool) -> CaseScore:
    """The score of an empty mask, with the failure values also where nothing was to be found."""
    score = _score(truth, empty_map(truth.labels.shape), distances)
    instances = dataclasses.replace(score.instances, f1=FAILURE_F1)
    return dataclasses.replace(score, dsc=failure.dsc, nsd=failure.nsd, instances=instances)


def _row(
    task: CaseTask,
    team: str,
    status: str,
    reason: str,
    truth: Truth | None,
    verdict: _Verdict | None,
) -> ScoreRow:
    record = task.records[team]
    score = None if verdict is None else verdict.score
    official = None if verdict is None else verdict.official
    return ScoreRow(
        team=team,
        case=task.case,
        modality=task.modality,
        dimensions=task.dimensions if truth is None else truth.labels.ndim,
        status=status,
        reason=" ".join(reason.split()),
        wall_s=None if record is None else record.wall_s,
        dsc=None if score is None else score.dsc,
        nsd=None if score is None else score.nsd,
        dsc_official=None if official is None else official.dsc,
        nsd_official=None if official is None else official.nsd,
        official_remark="" if official is None else " ".join(official.remark.split()),
        dsc_difference=None if not (official and score) else official.dsc - score.dsc,
        nsd_difference=None if not (official and score) else official.nsd - score.nsd,
        labels=0 if score is None else len(score.labels),
        false_positive_labels=0 if score is None else len(score.false_positive_labels),
        false_positive_voxels=0 if score is None else score.false_positive_voxels,
        instance_f1=None if score is None else score.instances.f1,
        instance_dsc=None if score is None else score.instances.dsc,
        instance_matches=0 if score is None else score.instances.matches,
        tolerance=TOLERANCE,
        spacing_mm="" if truth is None else " ".join(f"{mm:.9g}" for mm in truth.spacing_mm),
        spacing_origin="" if truth is None else truth.spacing_origin,
    )
