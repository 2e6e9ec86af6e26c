"""Teams as named on the command line, and what can be learnt of them without an engine."""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from docker.utils.build import exclude_paths

from evaluation.dataset import digest_of
from evaluation.errors import TeamError, UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]*")
_ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz")
_FILES = (".json", ".jsonl", ".csv", ".md", ".html", ".txt")
_FOLDERS = ("figures",)
"""What lies in a run's folder beside the teams'."""

_NEVER_SUBMITTED = ("**/.git", "**/__pycache__", "**/*.pyc")


class SourceKind(StrEnum):
    """What a team handed in."""

    IMAGE = "image"
    ARCHIVE = "archive"
    FOLDER = "folder"


@dataclass(frozen=True)
class Team:
    """A team and where its submission is."""

    name: str
    kind: SourceKind
    source: str
    """Image reference, or path of the archive or folder, as given."""


@dataclass(frozen=True)
class Submission:
    """A team's submission made ready to run."""

    team: Team
    reference: str
    """Image name, or the folder's path without an engine; for people."""
    digest: str
    """``sha256:...`` of the image or of the folder's files; resume goes by it."""
    size_bytes: int


def parse_team(text: str) -> Team:
    """Return the team in ``NAME=SOURCE``.

    An existing folder is a folder to build, an existing file a ``docker save`` archive, anything
    else an image reference. Raises UsageError; a path with nothing there is not taken for an image.
    """
    name, separator, source = text.partition("=")
    if not separator or not source or not _NAME.fullmatch(name):
        raise UsageError(
            "--team: expected NAME=SOURCE, a name of letters, digits and . _ - and an image, "
            f"an archive or a folder, found {text!r}"
        )
    if name.lower().endswith(_FILES) or name.lower() in _FOLDERS:
        raise UsageError(f"--team: expected no name of a run's own files, found {name!r}")
    path = Path(source)
    if path.is_dir():
        return Team(name, SourceKind.FOLDER, source)
    if path.is_file():
        return Team(name, SourceKind.ARCHIVE, source)
    if source.startswith((".", "/", "~")) or source.endswith(_ARCHIVE_ENDINGS):
        raise UsageError(f"--team {name}: expected an archive or a folder, found nothing: {source}")
    if not _IMAGE.fullmatch(source):
        raise UsageError(f"--team {name}: expected an image reference, found {source!r}")
    return Team(name, SourceKind.IMAGE, source)


def parse_teams(texts: Iterable[str]) -> list[Team]:
    """Return all teams; raises UsageError when two share a name (in any case of its letters)."""
    teams = [parse_team(text) for text in texts]
    names = [team.name.lower() for team in teams]
    for team in teams:
        if names.count(team.name.lower()) > 1:
            raise UsageError(f"--team: expected each name once, found {team.name} again")
    return teams


def parse_build_args(texts: Iterable[str]) -> dict[str, str]:
    """Return build arguments from ``KEY=VALUE`` texts."""
    arguments = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            raise UsageError(f"--build-arg: expected KEY=VALUE, found {text!r}")
        arguments[key] = value
    return arguments


@dataclass(frozen=True)
class ArchivedImage:
    """How a ``docker save`` archive names the image in it."""

    tag: str
    """Empty if it has none."""
    config: str
    """``sha256:...`` of its configuration, by which most engines know an image; else empty."""


def archived_image(path: Path) -> ArchivedImage:
    """Return the names of the image in a ``docker save`` archive.

    They are read from the archive's manifest: the official script goes by the file name and takes
    ``team.v2.tar.gz`` for ``team`` (challenge.md 6.C, C8). Plain and gzip archives are told apart
    by their content. Raises TeamError when the archive is none, or holds several images.
    """
    try:
        with tarfile.open(path, "r:*") as archive:
            member = archive.extractfile("manifest.json")
            images = json.load(member) if member else None
    except (OSError, EOFError, KeyError, ValueError, RecursionError, tarfile.TarError) as error:
        raise TeamError(f"{path}: expected a docker save archive, found: {error}") from error
    if not isinstance(images, list) or len(images) != 1 or not isinstance(images[0], dict):
        count = len(images) if isinstance(images, list) else "no list of"
        raise TeamError(f"{path}: expected one image in manifest.json, found {count} images")
    tags = images[0].get("RepoTags") or [""]
    if not isinstance(tags, list):
        raise TeamError(
            f"{path}: expected a list of RepoTags in manifest.json, found {type(tags).__name__}"
        )
    config = Path(str(images[0].get("Config", ""))).name.removesuffix(".json")
    is_digest = re.fullmatch(r"[0-9a-f]{64}", config) is not None
    if not tags[0] and not is_digest:
        raise TeamError(f"{path}: expected a tag or a configuration digest, found neither")
    return ArchivedImage(str(tags[0]), f"sha256:{config}" if is_digest else "")


def submitted_files(folder: Path) -> list[str]:
    """Return the relative paths that a Docker build of ``folder`` would be given, sorted."""
    ignore_file = folder / ".dockerignore"
    lines = ignore_file.read_text().splitlines() if ignore_file.is_file() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    paths = exclude_paths(str(folder), [*patterns, *_NEVER_SUBMITTED])
    return sorted(
        path for path in paths if os.path.islink(folder / path) or not os.path.isdir(folder / path)
    )


def folder_digest(folder: Path) -> tuple[str, int]:
    """Return ``sha256:...`` over names and contents of a folder's submitted files, and their bytes.

    It names the submission where no engine gives an image digest. Links count by where they lead,
    those to files by what is there, too. What ``.dockerignore`` leaves out does not count, though a
    process sees it.
    """
    digest, size = hashlib.sha256(), 0
    for name in submitted_files(folder):
        path = folder / name
        content = f"-> {os.readlink(path)} " if path.is_symlink() else ""
        if path.is_file():
            content, size = content + digest_of(path), size + path.stat().st_size
        digest.update(f"{name}\0{content}\n".encode())
    return f"sha256:{digest.hexdigest()}", size
