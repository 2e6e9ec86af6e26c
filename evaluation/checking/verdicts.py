"""The page of ``check``: what was seen of a submission, in verdicts with how to mend each."""

from dataclasses import dataclass
from enum import StrEnum

from evaluation.checking.odd_cases import MENDING
from evaluation.running.measuring import StartUp
from evaluation.running.outcomes import Status
from evaluation.running.protocol import GIB, MIB, Protocol
from evaluation.running.records import CaseRecord

LARGE_IMAGE_BYTES = 2 * GIB
"""Above this an image costs an organiser with 25 teams more than 50 GiB of disk."""

NEAR_LIMIT = 0.8
"""Part of a limit from which on a larger case may well break it."""

MENDING_OF_STATUS = {
    Status.MISSING_OUTPUT: "write outputs/<case>.npz for every inputs/<case>.npz",
    Status.UNREADABLE_OUTPUT: "write a regular file with np.savez_compressed(path, segs=labels)",
    Status.WRONG_SHAPE: "segs has the image's own shape: (H, W) or (D, H, W), colours left out",
    Status.WRONG_TYPE: "save segs as uint8, or uint16 above 255 boxes",
    Status.UNKNOWN_LABELS: "paint box i (from 1) with label i and nothing else",
    Status.TOO_LARGE: "write nothing but the mask to the outputs, compressed",
    Status.TIME_OUT: "try it with --time-limit raised; print progress to see where it hangs",
    Status.OUT_OF_MEMORY: "free arrays, encode slice by slice, try smaller batches",
    Status.CRASH: "read the log; root is read-only, only /tmp and the outputs can be written",
}

STEPS = {
    "the container's start": "nothing of yours: the engine takes it for any image",
    "your program's start": "import less, ship the model compiled, read weights once",
    "the work on the case": "encode each slice once, batch the boxes, resize only what is used",
}
"""What a case's time goes into -> how to shorten it."""


class Level(StrEnum):
    """How bad it is."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Verdict:
    """One line of the page."""

    level: Level
    subject: str
    finding: str
    mending: str = ""
    """What to do about it; empty where there is nothing to do."""


@dataclass(frozen=True)
class Evidence:
    """What the verdicts on all cases together are drawn from."""

    protocol: Protocol
    records: dict[str, CaseRecord]
    start_up: StartUp | None


def judge_all(evidence: Evidence) -> list[Verdict]:
    """Return the verdicts that take all cases."""
    return [_limits(evidence), _state(evidence), _network(evidence), _slowest(evidence)]


def judge_contract(record: CaseRecord) -> Verdict:
    """Return the verdict on an ordinary case."""
    subject = f"contract, {record.dimensions}D"
    if record.status is Status.OK:
        return Verdict(Level.PASS, subject, f"a mask in {record.wall_s:.2f} s")
    mending = MENDING_OF_STATUS.get(record.status, "")
    return Verdict(Level.FAIL, subject, f"{record.status}: {record.reason}", mending)


def _limits(evidence: Evidence) -> Verdict:
    """Had any limit not been in force, there would be no evidence at all."""
    protocol, records = evidence.protocol, evidence.records.values()
    peak = max((record.peak_bytes or 0 for record in records), default=0)
    longest_s = max((record.wall_s or 0 for record in records), default=0)
    found = f"in force; at most {peak / MIB:.0f} of {protocol.memory_bytes / MIB:.0f} MiB, "
    found += f"{longest_s:.1f} of {protocol.time_limit_s:.0f} s"
    near = peak > NEAR_LIMIT * protocol.memory_bytes
    if near or longest_s > NEAR_LIMIT * protocol.time_limit_s:
        return Verdict(Level.WARN, "limits", found, "real cases are larger than these")
    return Verdict(Level.PASS, "limits", found)


def judge_determinism(same_masks: dict[str, bool]) -> Verdict:
    """Return the verdict on cases that were ok twice, and whether both masks were equal."""
    if not same_masks:
        return Verdict(Level.WARN, "determinism", "no case was ok twice", "mend the contract first")
    differing = [name for name, equal in same_masks.items() if not equal]
    if differing:
        found = f"two runs gave different masks: {', '.join(differing)}"
        return Verdict(Level.WARN, "determinism", found, "seed random numbers, fix thread counts")
    return Verdict(Level.PASS, "determinism", f"two runs, the same masks ({len(same_masks)} cases)")


def _state(evidence: Evidence) -> Verdict:
    extra = [
        (record.written_bytes or 0) - (record.mask_bytes or 0)
        for record in evidence.records.values()
        if record.status is Status.OK
    ]
    most = max(extra, default=0)
    if most > MIB:
        found = f"{most / MIB:.1f} MiB beside the mask were left in the outputs"
        mending = "nothing outlives a case: keep caches in the image, scratch files in /tmp"
        return Verdict(Level.WARN, "state left behind", found, mending)
    return Verdict(Level.PASS, "state left behind", "none to speak of")


def _network(evidence: Evidence) -> Verdict:
    attempts = [record.network_attempts for record in evidence.records.values()]
    known = [number for number in attempts if number is not None]
    if evidence.protocol.network != "none" or not known:
        return Verdict(Level.WARN, "network", "not observed", "check with --network none, as root")
    if sum(known):
        found = f"{sum(known)} packets tried to leave"
        mending = "put weights into the image; turn telemetry and update checks off"
        return Verdict(Level.WARN, "network", found, mending)
    return Verdict(Level.PASS, "network", "no attempt to reach one")


def judge_size(size_bytes: int) -> Verdict:
    """Return the verdict on the size of an image."""
    found = f"{size_bytes / MIB:.0f} MiB"
    if size_bytes > LARGE_IMAGE_BYTES:
        mending = "build in two stages; install the CPU build of your framework, no compilers"
        return Verdict(Level.WARN, "image size", found, mending)
    return Verdict(Level.PASS, "image size", found)


def _slowest(evidence: Evidence) -> Verdict:
    """Name the step that the slowest case's time went into: container, program's start, or work.

    The first two are the shortest of their runs, since a busy machine only ever adds to them.
    """
    timed = [record for record in evidence.records.values() if record.wall_s is not None]
    if not timed:
        return Verdict(Level.WARN, "slowest step", "nothing was timed", "mend the contract first")
    slowest = max(timed, key=lambda record: record.wall_s or 0)
    wall_s, start_up = slowest.wall_s or 0.0, evidence.start_up
    least_s = min(record.wall_s or 0 for record in timed)
    container_s = min(min(start_up.runs_s), least_s) if start_up else 0.0
    seconds = dict(zip(STEPS, (container_s, least_s - container_s, wall_s - least_s), strict=True))
    step = max(seconds, key=lambda name: seconds[name])
    parts = ", ".join(f"{name} {part_s:.2f} s" for name, part_s in seconds.items())
    found = f"{step}: in {slowest.case}, {wall_s:.2f} s are {parts}"
    return Verdict(Level.PASS, "slowest step", found, STEPS[step])


def judge_odd(record: CaseRecord) -> Verdict:
    """Return the verdict on an odd case: a failure here is one to expect in the challenge."""
    subject = record.case.split("_", 2)[2].replace("-", " ")
    if record.status is Status.OK:
        return Verdict(Level.PASS, subject, "ok")
    finding = f"will fail: {record.status}: {record.reason}"
    return Verdict(Level.FAIL, subject, finding, MENDING[record.case])
