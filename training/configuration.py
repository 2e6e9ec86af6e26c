"""Configuration: dataclass defaults, then a TOML file, then flags.

A file's tables are the nested dataclasses; a flag is the dotted name of a value (``--loss.kind
dice-focal``), so there is nothing that a file can say and a flag cannot.
"""

import argparse
import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from inference.whole_file import replace_whole
from training.errors import ConfigError

T = TypeVar("T")


def read_config(
    kind: type[T], path: Path | None = None, flags: Mapping[str, Any] | None = None
) -> T:
    """``kind`` with the values of the file at ``path``, then those of ``flags`` (dotted names).

    A key of the file that ``kind`` does not have is an error, as is a value of another type.

    Raises:
        ConfigError: naming file or flag, key, what was expected and what was found.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: expected a TOML file, found: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{path}: expected TOML, found: {error}") from error
    try:
        made = _fill(kind, values, "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    changed = as_values(made)
    for name, value in (flags or {}).items():
        table = changed
        *parents, last = name.split(".")
        for parent in parents:
            table = table[parent]
        table[last] = value
    return _fill(kind, changed, "")


def as_values(config: Any) -> dict[str, Any]:
    """Nested dictionaries of a dataclass, tuples as lists."""

    def plain(value: Any) -> Any:
        if is_dataclass(value):
            return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
        if isinstance(value, Mapping):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, tuple) else value

    values: dict[str, Any] = plain(config)
    return values


def write_config(config: Any, path: Path) -> None:
    """Write every value as TOML that :func:`read_config` reads back to an equal ``config``."""
    text = config_text(config)
    replace_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"), ".partial")


def config_text(config: Any) -> str:
    """TOML of a dataclass: plain values first, then its tables."""
    lines: list[str] = []

    def write(values: Mapping[str, Any], prefix: str) -> None:
        for key, value in values.items():
            if not isinstance(value, dict):
                lines.append(f"{_key(key)} = {_toml(value)}")
        for key, value in values.items():
            if isinstance(value, dict):
                lines.append(f"\n[{prefix}{_key(key)}]")
                write(value, f"{prefix}{_key(key)}.")

    write(as_values(config), "")
    return "\n".join(lines).strip() + "\n"


def _key(name: str) -> str:
    plain = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
    return name if plain else json.dumps(name)


def _toml(value: Any) -> str:
    """JSON's numbers, strings, booleans and arrays are TOML's."""
    return json.dumps(value, ensure_ascii=False)


def add_flags(parser: argparse.ArgumentParser, kind: type[Any]) -> None:
    """One flag a value of ``kind``, nested ones with dots; absent unless given."""
    group = parser.add_argument_group("values (default: the file's, then the recipe's)")
    for name, annotation in _leaves(kind, ""):
        parse, words = _flag_type(annotation)
        group.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"config:{name}",
            default=argparse.SUPPRESS,
            type=parse,
            metavar=words,
        )


def given_flags(args: argparse.Namespace) -> dict[str, Any]:
    """The values that flags of :func:`add_flags` were given."""
    return {k.removeprefix("config:"): v for k, v in vars(args).items() if k.startswith("config:")}


def _leaves(kind: type[Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    hints = get_type_hints(kind)
    for item in fields(kind):
        annotation = hints[item.name]
        if is_dataclass(annotation):
            found += _leaves(annotation, f"{prefix}{item.name}.")  # type: ignore[arg-type]
        else:
            found.append((f"{prefix}{item.name}", annotation))
    return found


def _flag_type(annotation: Any) -> tuple[Any, str]:
    """How a flag's word becomes a value, and what ``--help`` calls it."""
    origin = get_origin(annotation)
    if origin is Literal:
        return str, "{" + ",".join(get_args(annotation)) + "}"
    if annotation in (int, float, str):
        return annotation, annotation.__name__.upper()
    if annotation is bool:
        return _flag_bool, "{true,false}"
    if origin is tuple:
        kind = get_args(annotation)[0]
        item = str if get_origin(kind) is Literal else kind  # which words: seen with the file's
        return lambda words: [item(w) for w in words.split(",") if w], "A,B,..."
    return _flag_table, "TOML-TABLE"


def _flag_bool(word: str) -> bool:
    if word not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found {word}")
    return word == "true"


def _flag_table(words: str) -> Any:
    """An inline table such as ``{PET = 2.0}``."""
    try:
        return tomllib.loads(f"value = {words}")["value"]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a TOML table, found {words}") from error


def _fill(kind: type[T], values: Any, where: str) -> T:
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a table, found {values!r}")
    hints, made = get_type_hints(kind), {}
    for key in values:
        if key not in hints:
            raise ConfigError(f"{where}{key}: expected one of {sorted(hints)}")
    for item in fields(kind):  # type: ignore[arg-type]
        if item.name in values:
            name, annotation = f"{where}{item.name}", hints[item.name]
            if is_dataclass(annotation):
                made[item.name] = _merge(item, annotation, values[item.name], name)
            else:
                made[item.name] = _value(annotation, values[item.name], name)
    return kind(**made)


def _merge(item: Any, annotation: Any, values: Any, where: str) -> Any:
    """A table over the default of its field, which need not be the default of its type."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a table, found {values!r}")
    base = as_values(item.default) if item.default is not MISSING else {}

    def over(low: dict[str, Any], high: dict[str, Any], kind: Any) -> dict[str, Any]:
        hints = get_type_hints(kind)
        merged = dict(low)
        for key, value in high.items():
            nested = is_dataclass(hints.get(key)) and isinstance(value, dict) and key in low
            merged[key] = over(low[key], value, hints[key]) if nested else value
        return merged

    return _fill(annotation, over(base, values, annotation), f"{where}.")


def _value(annotation: Any, value: Any, where: str) -> Any:
    """One checked value; whole numbers stand for floating-point ones, never the reverse."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        kept = next(a for a in inner if a is not NoneType)
        return None if value is None else _value(kept, value, where)
    if origin is Literal:
        if value not in inner:
            raise ConfigError(f"{where}: expected one of {inner}, found {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or (
            inner[-1] is not ... and len(value) != len(inner)
        ):
            count = "a list" if inner[-1] is ... else f"a list of {len(inner)}"
            raise ConfigError(f"{where}: expected {count}, found {value!r}")
        return tuple(_value(inner[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table, found {value!r}")
        return {str(k): _value(inner[1], v, f"{where}.{k}") for k, v in value.items()}
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not annotation:
        raise ConfigError(f"{where}: expected {annotation.__name__}, found {value!r}")
    return value
