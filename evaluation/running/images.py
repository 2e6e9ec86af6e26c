"""Turns a team's source into an image that Docker Engine holds."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound

from evaluation.errors import BuildError, EngineError, TeamError
from evaluation.progress import Progress
from evaluation.running.engine import ENGINE_FAILURES, Engine, connect
from evaluation.running.teams import ArchivedImage, SourceKind, Submission, Team, archived_image

LOAD_TIMEOUT_S = 3600
"""Longest silence of the engine while it unpacks a loaded image."""

_BUILD_LOG_LINES = 15
_LOAD_BLOCK = 1 << 20


def make_image(
    client: Engine, team: Team, build_args: Mapping[str, str], build_log: Path
) -> Submission:
    """Return the team's submission as an image of the engine; builds or loads it if need be.

    The image is known by its digest from the moment it is made: a tag may be another image's a
    moment later, when two harnesses share an engine or two archives have the same tag.
    """
    reference = team.source
    try:
        if team.kind is SourceKind.FOLDER:
            reference, digest = build_folder(client, team, build_args, build_log)
            image = client.inspect_image(digest)
        elif team.kind is SourceKind.ARCHIVE:
            archived = archived_image(Path(team.source))
            reference = archived.tag or archived.config
            image = _find(client, archived.config) or _load(client, Path(team.source), archived)
        else:
            image = client.inspect_image(reference)
    except ImageNotFound as error:
        raise TeamError(
            f"team {team.name}: the engine has no image {reference}; pull or load it first"
        ) from error
    except ENGINE_FAILURES as error:
        raise EngineError(f"team {team.name}: {error}") from error
    return Submission(team, reference, str(image["Id"]), int(image["Size"]))


def _find(client: Engine, digest: str) -> dict[str, Any] | None:
    """Return the engine's word on an image that it has; loading it again would change nothing."""
    with suppress(ImageNotFound):
        found: dict[str, Any] | None = client.inspect_image(digest) if digest else None
        return found
    return None


def _load(client: Engine, path: Path, archived: ArchivedImage) -> dict[str, Any]:
    """Load a ``docker save`` archive and return the engine's word on the image in it.

    An engine with a containerd store does not know it by its configuration: there its tag counts.
    """
    patient = connect(LOAD_TIMEOUT_S)
    try:
        with Progress(f"load {path.name}", path.stat().st_size, "B") as progress:
            for event in patient.load_image(_blocks(path, progress)):
                if "error" in event:
                    raise TeamError(f"{path}: the engine cannot load it: {event['error']}")
    except APIError as error:
        raise TeamError(f"{path}: the engine cannot load it: {error.explanation}") from error
    finally:
        patient.close()
    loaded = _find(client, archived.config)
    if loaded is None:
        loaded = client.inspect_image(archived.tag or archived.config)
    return loaded


def build_folder(
    client: Engine, team: Team, build_args: Mapping[str, str], build_log: Path
) -> tuple[str, str]:
    """Build a folder's Dockerfile and return the new image's tag and digest.

    The log goes to ``build_log``.

    Raises BuildError with the last lines of the log when it does not build.
    """
    folder = Path(team.source)
    if not (folder / "Dockerfile").is_file():
        raise TeamError(f"team {team.name}: expected a Dockerfile in {folder}, found none")
    tag = f"medsam-laptop/{team.name.lower()}:latest"
    lines: list[str] = []
    digest = failure = ""
    try:
        events = client.build(
            path=str(folder),
            tag=tag,
            buildargs=dict(build_args),
            rm=True,
            forcerm=True,
            decode=True,
        )
        with Progress(f"build {team.name}", 0, "step") as progress:
            for event in events:
                digest = str(event.get("aux", {}).get("ID", digest))
                failure = failure or str(event.get("error", ""))
                lines += str(event.get("stream", event.get("error", ""))).splitlines()
                _show_step(progress, str(event.get("stream", "")))
    except (APIError, TypeError, OSError) as error:
        failure = str(error)
    build_log.parent.mkdir(parents=True, exist_ok=True)
    build_log.write_text("\n".join(lines) + "\n")
    if failure:
        end = "\n  ".join([line for line in lines if line.strip()][-_BUILD_LOG_LINES:])
        raise BuildError(
            f"team {team.name}: {folder}/Dockerfile does not build: {failure}\n"
            f"  {end}\n  (all of it: {build_log})"
        )
    return tag, digest or tag


def _show_step(progress: Progress, line: str) -> None:
    step = re.match(r"Step (\d+)/(\d+) : (.*)", line)
    if step:
        progress.expect(int(step[2]))
        progress.advance(1, step[3][:60])


def _blocks(path: Path, progress: Progress) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_LOAD_BLOCK):
            yield block
            progress.advance(len(block))
