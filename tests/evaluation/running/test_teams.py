"""What a team hands in: an image, an archive or a folder."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.errors import BuildError, TeamError, UsageError
from evaluation.running import images
from evaluation.running.images import make_image as make_submission
from evaluation.running.teams import (
    ArchivedImage,
    SourceKind,
    Team,
    archived_image,
    folder_digest,
    parse_build_args,
    parse_team,
    parse_teams,
)
from tests.evaluation.conftest import IMAGES

Factory = Callable[..., Any]


def archive_with(manifest: object, path: Path) -> Path:
    content = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return path


def test_the_kind_of_a_team_is_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "seno.tar.gz").write_bytes(b"")
    assert parse_team(f"a={tmp_path}").kind is SourceKind.FOLDER
    assert parse_team(f"a={tmp_path}/seno.tar.gz").kind is SourceKind.ARCHIVE
    team = parse_team("seno=some.host:5000/seno/medsam:v1=x".replace("=x", ""))
    assert team == Team("seno", SourceKind.IMAGE, "some.host:5000/seno/medsam:v1")


@pytest.mark.parametrize(
    "text",
    ["seno", "seno=", "=image", "../x=image", "a b=image", "a=./absent", "a=absent.tar", "a=A B"],
)
def test_what_names_no_team_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--team"):
        parse_team(text)


def test_two_teams_may_not_share_a_name() -> None:
    with pytest.raises(UsageError, match="each name once, found Seno again"):
        parse_teams(["Seno=image:1", "seno=image:2"])


def test_build_arguments_are_pairs() -> None:
    assert parse_build_args(["BASE=a:b", "EMPTY=", "E=x=y"]) == {
        "BASE": "a:b",
        "EMPTY": "",
        "E": "x=y",
    }
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_build_args(["BASE"])


@pytest.mark.parametrize("name", ["team.v2.tar", "team.v2.tar.gz", "no-ending"])
def test_the_tag_comes_from_the_archive_not_from_its_name(tmp_path: Path, name: str) -> None:
    path = archive_with([{"Config": "x.json", "RepoTags": ["seno:latest"]}], tmp_path / name)
    assert archived_image(path).tag == "seno:latest"
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert archived_image(path).tag == "seno:latest"


@pytest.mark.parametrize("config", ["{}.json", "blobs/sha256/{}"])
def test_an_archive_without_tag_is_known_by_its_configuration(tmp_path: Path, config: str) -> None:
    digest = "0123456789abcdef" * 4
    manifest = [{"Config": config.format(digest), "RepoTags": None}]
    found = archived_image(archive_with(manifest, tmp_path / "a.tar"))
    assert found == ArchivedImage("", f"sha256:{digest}")


@pytest.mark.parametrize(
    "manifest",
    [[], {}, [{}, {}], [{"RepoTags": []}], ["x"], [{"RepoTags": {"a": 1}}], b"[" * 100_000],
)
def test_an_archive_must_hold_one_image(tmp_path: Path, manifest: object) -> None:
    with pytest.raises(TeamError, match="a.tar: expected"):
        archived_image(archive_with(manifest, tmp_path / "a.tar"))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    for content in (b"", b"nonsense", gzip.compress(b"nonsense"), gzip.compress(bytes(2000))[:-9]):
        path.write_bytes(content)
        with pytest.raises(TeamError, match="expected a docker save archive"):
            archived_image(path)


def test_a_folders_digest_goes_by_what_a_build_would_send(make_folder: Factory) -> None:
    folder = make_folder()
    (folder / ".dockerignore").write_text("# not sent\nruns\n*.tmp\n")
    (folder / "link").symlink_to("absent")
    digest, size = folder_digest(folder)
    assert digest.startswith("sha256:") and size > 0
    for ignored in ("runs/a", "x.tmp", ".git/HEAD", "pkg/__pycache__/a.pyc"):
        (folder / ignored).parent.mkdir(parents=True, exist_ok=True)
        (folder / ignored).write_text("x")
    assert folder_digest(folder) == (digest, size)
    (folder / "pkg" / "a.py").write_text("")
    changed = folder_digest(folder)
    assert changed != (digest, size)
    (folder / "pkg" / "a.py").rename(folder / "pkg" / "b.py")
    assert folder_digest(folder) != changed


@pytest.mark.docker
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_an_archive_is_loaded_and_run_by_digest(
    engine: Any,
    make_image: Factory,
    tmp_path: Path,
    packed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = make_image("echo archived", tag=f"{IMAGES}/archived")
    content = b"".join(engine.get_image(f"{IMAGES}/archived:latest"))
    engine.remove_image(image, force=True)
    path = tmp_path / "team.v2.tar.gz"
    path.write_bytes(gzip.compress(content) if packed else content)
    team = Team("a", SourceKind.ARCHIVE, str(path))
    submission = make_submission(engine, team, {}, tmp_path / "log")
    assert submission.reference == f"{IMAGES}/archived:latest"
    assert submission.digest == image
    assert submission.size_bytes > 0
    with monkeypatch.context() as patch:  # a known image is not loaded again
        patch.setattr(images, "connect", None)
        assert make_submission(engine, team, {}, tmp_path / "log") == submission


class RetaggingEngine:
    """An engine on which somebody else gives our tag to his image as soon as it is free."""

    def __init__(self, engine: Any, tag: str, other: str) -> None:
        self._engine, self._tag, self._other = engine, tag, other

    def inspect_image(self, name: str) -> Any:
        self._engine.tag(self._other, self._tag)
        return self._engine.inspect_image(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


@pytest.mark.docker
@pytest.mark.parametrize("kind", [SourceKind.ARCHIVE, SourceKind.FOLDER])
def test_a_tag_that_another_image_takes_over_does_not_swap_the_submission(
    engine: Any, make_image: Factory, make_folder: Factory, tmp_path: Path, kind: SourceKind
) -> None:
    other = make_image("echo somebody else's", tag=f"{IMAGES}/other")
    mine = make_image("echo mine", tag=f"{IMAGES}/mine")
    team = Team(f"Mine-{IMAGES}", kind, str(tmp_path / "mine.tar"))
    tag = f"{IMAGES}/mine"
    if kind is SourceKind.ARCHIVE:
        (tmp_path / "mine.tar").write_bytes(b"".join(engine.get_image(f"{tag}:latest")))
    else:
        folder = make_folder()
        (folder / "Dockerfile").write_text(f"FROM {tag}:latest\n")  # the same image again
        team = Team(team.name, kind, str(folder))
        tag = f"medsam-laptop/{team.name.lower()}"
    thief = RetaggingEngine(engine, tag, other)
    submission = make_submission(thief, team, {}, tmp_path / "log")
    engine.remove_image(f"{tag}:latest")
    assert submission.digest == mine


@pytest.mark.docker
def test_a_broken_archive_is_the_teams_fault(engine: Any, tmp_path: Path) -> None:
    path = archive_with(
        [{"Config": "x.json", "RepoTags": ["a:latest"], "Layers": ["x"]}], tmp_path / "a.tar"
    )
    with pytest.raises(TeamError, match=r"a.tar: the engine cannot load it"):
        make_submission(engine, Team("a", SourceKind.ARCHIVE, str(path)), {}, tmp_path / "log")


@pytest.mark.docker
def test_a_missing_image_is_named(engine: Any, tmp_path: Path) -> None:
    team = Team("a", SourceKind.IMAGE, "medsam-laptop-test/absent:1")
    with pytest.raises(
        TeamError, match="team a: the engine has no image medsam-laptop-test/absent:1"
    ):
        make_submission(engine, team, {}, tmp_path / "log")


@pytest.mark.docker
def test_a_folder_is_built_with_build_arguments(
    engine: Any, make_image: Factory, make_folder: Factory, tmp_path: Path
) -> None:
    make_image("echo base", tag=f"{IMAGES}/base")
    folder = make_folder("echo built\n")
    (folder / "Dockerfile").write_text(
        "ARG BASE=absent:1\nFROM $BASE\nCOPY predict.sh /workspace/predict.sh\n"
    )
    build_args = {"BASE": f"{IMAGES}/base:latest"}
    team = Team("Built", SourceKind.FOLDER, str(folder))
    submission = make_submission(engine, team, build_args, tmp_path / "log" / "build.log")
    try:
        assert submission.reference == "medsam-laptop/built:latest"
        assert submission.digest == engine.inspect_image("medsam-laptop/built:latest")["Id"]
        assert "Step 3/3" in (tmp_path / "log" / "build.log").read_text()
        again = make_submission(engine, team, build_args, tmp_path / "log" / "build.log")
        assert again == submission
    finally:
        engine.remove_image(submission.digest, force=True)


@pytest.mark.docker
def test_a_build_that_fails_ends_with_the_end_of_its_log(
    engine: Any, make_image: Factory, make_folder: Factory, tmp_path: Path
) -> None:
    make_image("echo base", tag=f"{IMAGES}/broken")
    folder = make_folder()
    team = Team("a", SourceKind.FOLDER, str(folder))
    with pytest.raises(TeamError, match="expected a Dockerfile"):
        make_submission(engine, team, {}, tmp_path / "build.log")
    (folder / "Dockerfile").write_text(
        f"FROM {IMAGES}/broken:latest\nRUN echo model.onnx is missing && exit 7\n"
    )
    with pytest.raises(BuildError, match=r"(?s)does not build.*code: 7.*model.onnx is missing"):
        make_submission(engine, team, {}, tmp_path / "build.log")
    assert "model.onnx is missing" in (tmp_path / "build.log").read_text()
    (folder / "Dockerfile").write_text("FRUM nothing\n")
    with pytest.raises(BuildError, match="(?i)unknown instruction"):
        make_submission(engine, team, {}, tmp_path / "build.log")


def test_links_count_by_where_they_lead(make_folder: Factory, tmp_path: Path) -> None:
    folder = make_folder()
    for name in ("weights", "others"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.bin").write_text(name)
    (folder / "folder").symlink_to(tmp_path / "weights")
    (folder / "file").symlink_to(tmp_path / "weights.bin")
    (folder / "round").symlink_to(folder)
    seen = [folder_digest(folder)]
    (tmp_path / "weights.bin").write_text("changed")
    seen.append(folder_digest(folder))
    for name in ("folder", "file"):
        place = folder / name
        target = os.readlink(place).replace("weights", "others")
        place.unlink()
        place.symlink_to(target)
        seen.append(folder_digest(folder))
    assert len(set(seen)) == 4


@pytest.mark.parametrize("name", ["rank.json", "Leaderboard.CSV", "figures", "report.html"])
def test_a_team_has_no_name_of_a_runs_own_files(name: str) -> None:
    with pytest.raises(UsageError, match="expected no name of a run's own files"):
        parse_team(f"{name}=image")
