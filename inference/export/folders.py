"""The folder that a bundle is: written whole or not at all."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inference.export.errors import ExportError
from inference.export.systems import System

SCHEMA = 2
VERSION = "1"


def model_entry(
    system: System,
    encoder: str,
    decoder: str,
    scribbles: str = "",
    many_boxes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A model in bundle.json: its graphs and the rules of its system."""
    entry = {"encoder": encoder, "decoder": decoder, **system.rules}
    published = dict(system.published)
    if many_boxes:
        entry["many_boxes"] = dict(many_boxes)
    if scribbles:
        entry["scribble"] = {"decoder": scribbles}
        published["scribble"] = {"strokes": "resized"}  # the sister task's only program
    return entry | ({"published": published} if published else {})


def write_json(
    folder: Path, system: str, models: dict[str, Any], routing: dict[str, str], fidelity: str
) -> None:
    """Write bundle.json with the digest of every graph in ``folder``, its weights included."""
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.suffix in (".onnx", ".xml", ".bin")
    }
    content = {
        "schema": SCHEMA,
        "name": system,
        "version": VERSION,
        "fidelity": fidelity,
        "models": models,
        "routing": routing,
        "files": files,
    }
    text = json.dumps(content, indent=2) + "\n"
    (folder / "bundle.json").write_text(text, encoding="utf-8")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` that takes its name when everything went well."""
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise ExportError(f"{folder}: expected no such file or folder yet, found one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
