"""Everything that a run is done under: command, mounts, limits, isolation.

The defaults are the *isolated* protocol: the organisers' command and mount points, and around
them every limit that their script leaves out (challenge.md 6.C: C1 persisting folders, C4 no time
limit, C5 network and swap). The resolved protocol is stored with the run, and its digest is part
of what makes a record count as done.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any

from evaluation.errors import UsageError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

SMALLEST_MEMORY_BYTES = 6 * MIB
"""Docker Engine refuses a smaller memory limit."""


def parse_bytes(text: str) -> int:
    """Return the bytes in ``8g``, ``512m``, ``64k`` or ``1000`` (powers of 1024, as docker run)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)i?b?", text.strip().lower())
    if not match:
        raise argparse.ArgumentTypeError(
            f"expected a size such as 8g, 512m or 1000, found {text!r}"
        )
    return int(float(match[1]) * {"": 1, "k": KIB, "m": MIB, "g": GIB}[match[2]])


def parse_command(text: str) -> tuple[str, ...]:
    """Return the words of a command line; the empty text means the image's own command."""
    return tuple(shlex.split(text))


def default_user() -> str:
    """Return the ``uid:gid`` that containers run as, never root.

    Root harnesses hand the outputs folder to 1000:1000, the first user of most images (the
    organisers' example Dockerfile has one). Another harness can only read and delete what its own
    user writes.
    """
    return "1000:1000" if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}"


def _flag(help_text: str, parse: Callable[[str], Any], metavar: str) -> dict[str, Any]:
    return {"help": help_text, "type": parse, "metavar": metavar}


@dataclass(frozen=True)
class Protocol:
    """The conditions of a run; each field is also a flag: ``--time-limit``, ``--memory``."""

    name: str = field(default="isolated", metadata=_flag("name of these conditions", str, "NAME"))
    command: tuple[str, ...] = field(
        default=("/bin/bash", "-c", "sh predict.sh"),
        metadata=_flag("what the container runs; empty for the image's own", parse_command, "CMD"),
    )
    """CVPR24_time_eval.py:72 runs exactly this."""
    inputs_at: str = field(
        default="/workspace/inputs", metadata=_flag("where the case is mounted", str, "PATH")
    )
    outputs_at: str = field(
        default="/workspace/outputs", metadata=_flag("where the mask is expected", str, "PATH")
    )
    memory_bytes: int = field(
        default=8 * GIB, metadata=_flag("memory and swap together", parse_bytes, "SIZE")
    )
    """CVPR24_time_eval.py:72 has ``-m 8G``, which grants as much swap besides; here it does not."""
    cpus: float = field(
        default=0.0, metadata=_flag("processors' worth of time; 0 for all", float, "N")
    )
    pids: int = field(default=512, metadata=_flag("most processes and threads at once", int, "N"))
    time_limit_s: float = field(
        default=3600.0, metadata=_flag("a case is stopped after this long", float, "SECONDS")
    )
    """FLARE 2022 scores a failed case with 3600 s; the slowest published case took 437 s."""
    network: str = field(default="none", metadata=_flag("docker network mode", str, "MODE"))
    user: str = field(
        default_factory=default_user,
        metadata=_flag("UID:GID in the container; empty for the image's own", str, "UID:GID"),
    )
    read_only_root: bool = field(default=True, metadata={"help": "root file system is read-only"})
    drop_capabilities: bool = field(default=True, metadata={"help": "drop all capabilities"})
    allow_new_privileges: bool = field(
        default=False, metadata={"help": "let setuid programs gain rights"}
    )
    tmp_bytes: int = field(
        default=1 * GIB, metadata=_flag("size of the tmpfs on /tmp", parse_bytes, "SIZE")
    )
    """Counts as memory of the container, too."""
    log_limit_bytes: int = field(
        default=1 * MIB, metadata=_flag("kept of a case's log", parse_bytes, "SIZE")
    )
    output_limit_bytes: int = field(
        default=1 * GIB, metadata=_flag("largest mask file accepted", parse_bytes, "SIZE")
    )

    def __post_init__(self) -> None:
        """Raise UsageError for conditions under which nothing can run."""
        if self.memory_bytes < SMALLEST_MEMORY_BYTES:
            raise UsageError(
                f"memory: expected {SMALLEST_MEMORY_BYTES} bytes or more, found {self.memory_bytes}"
            )
        for name in ("pids", "time_limit_s", "tmp_bytes", "log_limit_bytes", "output_limit_bytes"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}: expected more than 0, found {getattr(self, name)}")
        if self.cpus < 0:
            raise UsageError(f"cpus: expected 0 or more, found {self.cpus}")
        for path in (self.inputs_at, self.outputs_at):
            if not PurePosixPath(path).is_absolute() or path == "/":
                raise UsageError(f"mount point: expected an absolute path below /, found {path!r}")
        if self.inputs_at == self.outputs_at:
            raise UsageError(f"mount points: expected two, found {self.inputs_at} twice")
        if self.user and not re.fullmatch(r"\d+:\d+", self.user):
            raise UsageError(f"user: expected UID:GID in numbers or nothing, found {self.user!r}")

    @property
    def owner(self) -> tuple[int, int] | None:
        """Return uid and gid of the container's user; None when the image decides."""
        if not self.user:
            return None
        uid, gid = self.user.split(":")
        return int(uid), int(gid)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of all conditions but their name."""
        conditions = {key: value for key, value in asdict(self).items() if key != "name"}
        return hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()


def add_protocol_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each field of Protocol."""
    group = parser.add_argument_group(
        "protocol", "conditions of every case; the defaults isolate it"
    )
    defaults = Protocol()
    for entry in fields(Protocol):
        default = getattr(defaults, entry.name)
        if isinstance(default, bool):
            group.add_argument(
                option_of(entry.name),
                dest=f"protocol_{entry.name}",
                default=default,
                help=entry.metadata["help"],
                action=argparse.BooleanOptionalAction,
            )
        else:
            group.add_argument(
                option_of(entry.name),
                dest=f"protocol_{entry.name}",
                default=_as_typed(default, entry.metadata["type"]),
                **entry.metadata,
            )


def option_of(field_name: str) -> str:
    """Return the flag of a field; units are left out, as the value or its help says them."""
    if field_name == "name":
        return "--protocol-name"
    return "--" + re.sub("_(bytes|s)$", "", field_name).replace("_", "-")


def protocol_from(args: argparse.Namespace) -> Protocol:
    """Return the protocol that the parsed flags describe."""
    return Protocol(
        **{entry.name: getattr(args, f"protocol_{entry.name}") for entry in fields(Protocol)}
    )


def _as_typed(value: Any, parse: Callable[[str], Any]) -> Any:
    """Return a default as a user would type it, for the help; argparse parses it like any other."""
    if parse is parse_command:
        return shlex.join(value)
    if parse is parse_bytes:
        unit, letter = next((u, n) for u, n in ((GIB, "g"), (MIB, "m"), (1, "")) if value % u == 0)
        return f"{value // unit}{letter}"
    return value
