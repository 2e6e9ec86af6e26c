"""How a protocol is named: a shipped or own TOML file, and flags that override it.

A key of a file is a flag without its dashes, and its value is what the flag would be given::

    memory = "8g"
    time-limit = 3600
    read-only-root = true

The table ``[ranking]`` has no flags (see `ranking_rules`).
"""

import argparse
import re
import shlex
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.errors import UsageError
from evaluation.running.protocol import DEFAULT_NAME, GIB, KIB, MIB, Protocol
from evaluation.running.ranking_rules import parse_rules

RANKING_TABLE = "ranking"
"""Name of the table of rules in a file, and of its field."""

PROTOCOLS = Path(__file__).parent / "protocols"
"""Folder of the protocols that ship."""


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


@dataclass(frozen=True)
class Option:
    """How one field of a protocol is written."""

    help: str
    parse: Callable[[str], Any] | None = None
    """None for a switch."""
    metavar: str = ""


OPTIONS: dict[str, Option] = {
    "name": Option("name of these conditions", str, "NAME"),
    "command": Option("what the container runs; empty for the image's own", parse_command, "CMD"),
    "inputs_at": Option("where the case is mounted", str, "PATH"),
    "outputs_at": Option("where the mask is expected", str, "PATH"),
    "keep_folders": Option("both folders writable and kept from case to case (the organisers')"),
    "memory_bytes": Option("memory", parse_bytes, "SIZE"),
    "swap_bytes": Option("swap beside the memory", parse_bytes, "SIZE"),
    "cpus": Option("processors' worth of time; 0 for all", float, "N"),
    "pids": Option("most processes and threads at once; 0 for any number", int, "N"),
    "time_limit_s": Option("a case is stopped after this long", float, "SECONDS"),
    "network": Option("docker network mode", str, "MODE"),
    "user": Option("UID:GID in the container; empty for the image's own", str, "UID:GID"),
    "read_only_root": Option("root file system is read-only"),
    "drop_capabilities": Option("drop all capabilities"),
    "allow_new_privileges": Option("let setuid programs gain rights"),
    "tmp_bytes": Option("size of the tmpfs on /tmp; 0 for none", parse_bytes, "SIZE"),
    "log_limit_bytes": Option("kept of a case's log", parse_bytes, "SIZE"),
    "output_limit_bytes": Option("most that may lie in the outputs", parse_bytes, "SIZE"),
    "output_files": Option("most files that may lie in the outputs", int, "N"),
    "refuse_unknown_labels": Option("a mask with labels that no box has is a failure"),
    "repeats": Option("timed runs of a case; their median counts", int, "N"),
    "warm_up": Option("untimed runs of a team's first case before all", int, "N"),
    "jobs": Option("cases run at once, each on processors of its own", int, "N"),
    "failure_dsc": Option("DSC of a failed case", float, "SCORE"),
    "failure_nsd": Option("NSD of a failed case", float, "SCORE"),
    "failure_time_s": Option("seconds that a failed case counts as", float, "SECONDS"),
}
"""Every field of Protocol but its table of ranking rules; a test keeps the two equal."""


def key_of(field_name: str) -> str:
    """Return a field's key in a file; units are left out, as the value or its help says them."""
    return re.sub("_(bytes|s)$", "", field_name).replace("_", "-")


def option_of(field_name: str) -> str:
    """Return the flag of a field."""
    return "--protocol-name" if field_name == "name" else f"--{key_of(field_name)}"


def add_protocol_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--protocol`` and one flag for each field of Protocol, which overrides it."""
    group = parser.add_argument_group("protocol", "conditions of every case; flags override it")
    group.add_argument(
        "--protocol",
        default=DEFAULT_NAME,
        metavar="NAME_OR_FILE",
        help=f"{', '.join(shipped_protocols())}, or a TOML file of your own",
    )
    defaults = Protocol()
    for name, option in OPTIONS.items():
        usual = _as_typed(getattr(defaults, name), option.parse)
        kind: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction}
            if option.parse is None
            else {"type": option.parse, "metavar": option.metavar}
        )
        group.add_argument(
            option_of(name),
            dest=f"protocol_{name}",
            default=None,
            help=f"{option.help} (usually {usual})".replace("%", "%%"),
            **kind,
        )


def protocol_from(args: argparse.Namespace) -> Protocol:
    """Return the protocol that ``--protocol`` names, with what the flags say put in its place."""
    conditions = read_protocol(args.protocol)
    for name in OPTIONS:
        given = getattr(args, f"protocol_{name}")
        if given is not None:
            conditions[name] = given
    return Protocol(**conditions)


def shipped_protocols() -> list[str]:
    """Return the names of the protocols that ship."""
    return sorted(path.stem for path in PROTOCOLS.glob("*.toml"))


def read_protocol(name_or_file: str) -> dict[str, Any]:
    """Return what a shipped protocol or a file sets, by field; its name is the file's own.

    Raises UsageError, naming file and key, for a file that is none or a key that means nothing.
    """
    shipped = PROTOCOLS / f"{name_or_file}.toml"
    path = shipped if name_or_file in shipped_protocols() else Path(name_or_file)
    if not path.is_file():
        known = ", ".join(shipped_protocols())
        raise UsageError(f"--protocol: expected {known} or a file, found {name_or_file!r}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected a TOML file, found: {error}") from error
    keys = {key_of(name): name for name in OPTIONS}
    conditions: dict[str, Any] = {"name": path.stem}
    if RANKING_TABLE in content:
        table = content.pop(RANKING_TABLE)
        conditions[RANKING_TABLE] = parse_rules(table, f"{path}: [{RANKING_TABLE}]")
    for key, value in content.items():
        if key not in keys:
            raise UsageError(f"{path}: expected keys out of {', '.join(keys)}, found {key!r}")
        conditions[keys[key]] = _parse(path, key, value, OPTIONS[keys[key]])
    return conditions


def _parse(path: Path, key: str, value: object, option: Option) -> Any:
    """Return a value of a file as the flag would give it."""
    if option.parse is None or isinstance(value, bool):
        if option.parse is not None or not isinstance(value, bool):
            kind = "true or false" if option.parse is None else option.metavar
            raise UsageError(f"{path}: {key}: expected {kind}, found {value!r}")
        return value
    if isinstance(value, list) and option.parse is parse_command:
        if all(isinstance(word, str) for word in value):
            return tuple(value)
    try:
        if not isinstance(value, str | int | float):
            raise ValueError("one value")
        return option.parse(str(value))
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise UsageError(
            f"{path}: {key}: expected {option.metavar}, found {value!r} ({error})"
        ) from error


def _as_typed(value: Any, parse: Callable[[str], Any] | None) -> str:
    """Return a value as a user would type it, for the help."""
    if parse is parse_command:
        return shlex.join(value)
    if parse is parse_bytes:
        unit, letter = next((u, n) for u, n in ((GIB, "g"), (MIB, "m"), (1, "")) if value % u == 0)
        return f"{value // unit}{letter}"
    if isinstance(value, float):
        return f"{value:g}"
    return ("yes" if value else "no") if parse is None else str(value)
