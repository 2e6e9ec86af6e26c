"""The digests of all cases of a run, kept between its starts.

A challenge's cases are tens of gigabytes: reading them all takes minutes at every start. A file is
not read again while its size, its inode and both of its times are the same; the time of its last
change of any kind (ctime) is the kernel's own and cannot be set by a program.
"""

import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from evaluation.dataset import Case, digest_of
from evaluation.progress import Progress
from evaluation.running.run_folder import write_bytes

logger = logging.getLogger(__name__)

DIGESTS_FILE = "digests.json"
"""In the run folder: path -> [mark of the file, its SHA-256]."""

_SETTLED_NS = 2_000_000_000
"""A file changed this shortly before it was read may change again within one tick of its time."""


def digest_cases(cases: Sequence[Case], run: Path) -> dict[str, str]:
    """Return the SHA-256 of each case's file by case name; keeps them in the run folder."""
    known = _read(run / DIGESTS_FILE)
    marks = {case.name: _mark(os.stat(case.path)) for case in cases}
    paths = {case.name: str(case.path.resolve()) for case in cases}
    unread = [case for case in cases if known.get(paths[case.name], ("",))[0] != marks[case.name]]
    sizes = {case.name: case.path.stat().st_size for case in unread}
    with Progress("digest cases", sum(sizes.values()), "B") as progress:
        for case in unread:
            known[paths[case.name]] = (marks[case.name], digest_of(case.path))
            progress.advance(sizes[case.name], case.name)
    digests = {case.name: known[paths[case.name]][1] for case in cases}
    if unread:
        kept = {path: known[path] for path in paths.values() if not _is_fresh(path)}
        write_bytes(run / DIGESTS_FILE, json.dumps(kept, indent=0).encode())
    return digests


def _mark(found: os.stat_result) -> str:
    """Return what changes when a file does."""
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _is_fresh(path: str) -> bool:
    """Return whether a file changed so lately that another change may leave the same times."""
    return time.time_ns() - os.stat(path).st_ctime_ns < _SETTLED_NS


def _read(path: Path) -> dict[str, tuple[str, str]]:
    """Return what was kept; nothing if it is not there or not what we write."""
    try:
        content = json.loads(path.read_bytes())
        return {name: (str(mark), str(digest)) for name, (mark, digest) in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        logger.warning("%s: cannot be read, all cases are digested again: %s", path, error)
        return {}
