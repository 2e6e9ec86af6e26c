"""Codabench: a competition bundle that scores masks with this harness's own metrics.

::

    BUNDLE/competition.yaml       one phase, one task, one leaderboard
    BUNDLE/logo.png, pages/       what a competition must have; to be edited
    BUNDLE/scoring_program/       metadata.yaml, score.py and a copy of evaluation/
    BUNDLE/reference_data/        the truth
    BUNDLE/scoring_image/         Dockerfile and requirements of the image that scores
    BUNDLE.zip                    all but the last of them: what is uploaded

A submission is a zip of <case>.npz with `segs`; a case that is missing scores 0. Keys and limits
are those of Codabench's V2Unpacker and serializers (codalab/codabench, 2026-03).
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.dataset import array_headers, digest_of, modality_of
from evaluation.errors import ExportError
from evaluation.exporting.summary import part_name
from evaluation.scoring.score_tables import replace_file

LONGEST_NAME = 36
"""Characters of a column's title and key (leaderboards/models.py)."""

SUBMISSION_RULE = "Force_Best"

TIME_LIMIT_S = 7200

_PACKAGE = Path(__file__).resolve().parents[1]
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same files give the same bytes

_MADE = ".made.json"
"""Digests of pages and logo as they were made, by which those that were edited are told."""

_SCORE = '''\
"""Scores a submission: masks in input/res against the truth in input/ref, by evaluation/."""

import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent
sys.path.insert(0, str(PROGRAM))

from evaluation.exporting.codabench import write_results  # noqa: E402
from evaluation.scoring.scores import score_folder  # noqa: E402


def main(source: Path, output: Path) -> None:
    """Write scores.json and detailed_results.html, and scores.csv beside them."""
    found = source / "res"
    names = (path for path in found.iterdir() if not path.name.startswith((".", "__MACOSX")))
    nested = [path for path in names if path.is_dir()]
    if not any(found.glob("*.npz")) and len(nested) == 1:
        found = nested[0]
    results = score_folder(found, source / "ref", output / "scores.csv", workers=2)
    write_results(output, [row for result in results for row in result.scores])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
'''

_METADATA = "command: python3 /app/program/score.py /app/input /app/output\n"
"""The worker runs it in /app/program; it maps the folders to these places."""


def write_bundle(folder: Path, truth: Path, *, title: str, start: str, docker_image: str) -> Path:
    """Write the bundle and its zip, and return the zip.

    A bundle that is there already is replaced whole, but for logo and pages that were edited.

    Raises ExportError when there is no truth, when one is no label map or lies in the folder, or
    when that holds something else; what is there then stays as it is.
    """
    truths = sorted(path for path in truth.glob("*") if path.suffix == ".npz")
    if not truths:
        raise ExportError(f"{truth}: expected truths (*.npz), found none")
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder}: expected a folder for the bundle, found a file")
    if folder.exists() and any(folder.iterdir()) and not (folder / "competition.yaml").is_file():
        raise ExportError(f"{folder}: expected an empty folder or a bundle, found other files")
    if folder.resolve() in (truth.resolve(), *truth.resolve().parents):
        raise ExportError(f"{truth}: expected the truth outside {folder}, found it in there")
    columns = leaderboard_columns((path.stem, _dimensions(path)) for path in truths)
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    old = folder.with_name(f".{folder.name}.old")
    if old.is_dir() and not folder.exists():  # it was stopped between two renames
        old.rename(folder)
    try:
        _write(partial, truths, competition_yaml(title, start, docker_image, columns), title)
        for name in _edited(folder):
            shutil.copyfile(folder / name, partial / name)
        _replace(folder, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _pack(folder)


def _edited(folder: Path) -> list[str]:
    """Pages and logo of a bundle that are no longer as they were made, and such as were not."""
    paths = (folder / "logo.png", *(folder / "pages").glob("*"))
    found = {path.relative_to(folder).as_posix(): path for path in paths if path.is_file()}
    try:
        made = json.loads((folder / _MADE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        made = {}
    return [name for name, path in found.items() if made.get(name) != digest_of(path)]


def _replace(folder: Path, new: Path) -> None:
    """Put a folder in the place of another, which is gone only when this one is there."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write(folder: Path, truths: Sequence[Path], competition: str, title: str) -> None:
    """Write all of a bundle's files."""
    (folder / "pages").mkdir(parents=True)
    replace_file(folder / "competition.yaml", competition)
    for name, text in _pages(title, len(truths)).items():
        replace_file(folder / "pages" / name, text)
    _write_logo(folder / "logo.png")
    made = [folder / "logo.png", *sorted((folder / "pages").glob("*"))]
    digests = {path.relative_to(folder).as_posix(): digest_of(path) for path in made}
    replace_file(folder / _MADE, f"{json.dumps(digests, indent=1)}\n")
    _write_program(folder / "scoring_program")
    (folder / "reference_data").mkdir()
    for path in truths:
        shutil.copyfile(path, folder / "reference_data" / path.name)
    _write_image(folder / "scoring_image")


def leaderboard_columns(cases: Iterable[tuple[str, int]]) -> list[dict[str, str | int]]:
    """Return the columns of the leaderboard for the names and dimensions of some cases."""
    known = list(cases)
    modalities = sorted({modality_of(case) for case, _ in known})
    keys = [("dsc", "DSC", "desc"), ("nsd", "NSD", "desc"), ("failed", "failed cases", "asc")]
    for part in sorted({f"{dimensions}d" for _, dimensions in known}):
        keys += [
            (f"{key}_{part}", f"{key.upper()} {part.upper()}", "desc") for key in ("dsc", "nsd")
        ]
    for modality in modalities:
        keys += [
            (f"{key}_{part_name(modality)}", f"{key.upper()} {modality}", "desc")
            for key in ("dsc", "nsd")
        ]
    return [
        {
            "title": name[:LONGEST_NAME],
            "key": key[:LONGEST_NAME],
            "index": index,
            "sorting": sorting,
            "precision": 0 if key == "failed" else 4,
        }
        for index, (key, name, sorting) in enumerate(keys)
    ]


def competition_yaml(
    title: str, start: str, docker_image: str, columns: list[dict[str, str | int]]
) -> str:
    """Return competition.yaml; every text is quoted as in JSON, which YAML reads alike."""
    lines = [
        "version: 2",
        f"title: {json.dumps(title)}",
        "image: logo.png",
        "terms: pages/terms.md",
        f"docker_image: {json.dumps(docker_image)}",
        "enable_detailed_results: true",
        "make_programs_available: true",
        "pages:",
        *("  - title: Overview", "    file: pages/overview.md"),
        *("  - title: Evaluation", "    file: pages/evaluation.md"),
        *("phases:", "  - index: 0", "    name: Test", f"    start: {json.dumps(start)}"),
        *(f"    execution_time_limit: {TIME_LIMIT_S}", "    accepts_only_result_submissions: true"),
        *("    tasks:", "      - 0"),
        *("tasks:", "  - index: 0", "    name: Segmentation"),
        "    description: Masks are scored against the truth",
        *("    scoring_program: scoring_program", "    reference_data: reference_data"),
        *("leaderboards:", "  - title: Results", "    key: main"),
        *(f"    submission_rule: {SUBMISSION_RULE}", "    columns:"),
    ]
    for column in columns:
        first, *others = [f"{key}: {json.dumps(value)}" for key, value in column.items()]
        lines += [f"      - {first}", *(f"        {other}" for other in others)]
    return "\n".join(lines) + "\n"


def _dimensions(path: Path) -> int:
    """Return 2 or 3 by the truth's header; raises ExportError when there is none."""
    headers = array_headers(path)
    if "gts" not in headers or len(headers["gts"][0]) not in (2, 3):
        raise ExportError(f"{path}: expected gts (H, W) or (D, H, W), found {', '.join(headers)}")
    return len(headers["gts"][0])


def _pages(title: str, cases: int) -> dict[str, str]:
    return {
        "overview.md": f"# {title}\n\nSegment {cases} cases. A submission is a zip of one "
        "`<case>.npz` a case, with the labels under `segs`.\n",
        "evaluation.md": "# Evaluation\n\nDSC and NSD (tolerance 2 mm in 3D, 2 pixels in 2D) of "
        "every label of the truth, their mean over a case, over the cases of a modality, and over "
        "the modalities. A missing or broken mask scores 0.\n",
        "terms.md": "# Terms\n\nThe organiser's terms of participation go here.\n",
    }


def _write_logo(path: Path) -> None:
    """Draw a disk and its outline, to be replaced."""
    rows, columns = np.mgrid[-64:64, -64:64]
    radius = np.hypot(rows, columns)
    picture = np.full((128, 128, 3), 245, dtype=np.uint8)
    picture[radius < 40] = (90, 140, 200)
    picture[np.abs(radius - 46) < 2] = (200, 70, 60)
    Image.fromarray(picture).save(path)


def _write_program(folder: Path) -> None:
    """Copy this package without caches, and what starts it."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(_PACKAGE, folder / "evaluation", ignore=ignored)
    replace_file(folder / "score.py", _SCORE)
    replace_file(folder / "metadata.yaml", _METADATA)


def _write_image(folder: Path) -> None:
    """Write the recipe of an image that can run the scoring program."""
    folder.mkdir()
    needed = "".join(f"{name}=={version(name)}\n" for name in ("numpy", "scipy", "tqdm"))
    replace_file(folder / "requirements.txt", needed)
    lines = (
        "FROM python:3.12-slim",
        "COPY requirements.txt /",
        "RUN pip install -r requirements.txt",
    )
    replace_file(folder / "Dockerfile", "\n".join(lines) + "\n")


def _pack(folder: Path) -> Path:
    """Zip what is uploaded, in a fixed order and without times."""
    target = folder.with_name(f"{folder.name}.zip")
    part = target.with_name(f".{target.name}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                place = path.relative_to(folder)
                if path.is_file() and place.parts[0] not in ("scoring_image", _MADE):
                    entry = zipfile.ZipInfo(place.as_posix(), _ZIP_TIME)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    entry.external_attr = 0o644 << 16
                    archive.writestr(entry, path.read_bytes())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
