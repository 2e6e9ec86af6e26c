"""What a bundle says of itself besides what ``inference/`` reads; how its folder is written."""

import hashlib
import json
import shutil
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

from data_splits.split import read_split
from inference.whole_file import replace_whole
from training.errors import RecordError

LOG_FILE, CONFIG_FILE = "training_log.jsonl", "training_config.toml"
"""What a bundle keeps of the run that made it, beside its graphs."""


def sources_of(split: Path) -> list[dict[str, Any]]:
    """Cases of ``split`` with the word train, by (dims, modality, source), with their terms."""
    counts: Counter[tuple[str, str, str]] = Counter()
    terms: dict[tuple[str, str, str], dict[str, set[str]]] = {}
    for case in read_split(split):
        if case.split == "train":
            counts[case.stratum] += 1
            known = terms.setdefault(case.stratum, {"licence": set(), "redistributable": set()})
            known["licence"].add(case.licence)
            known["redistributable"].add(case.redistributable)
    return [
        {
            "dims": stratum[0],
            "modality": stratum[1],
            "source": stratum[2],
            "cases": counts[stratum],
            **{key: sorted(values) for key, values in terms[stratum].items()},
        }
        for stratum in sorted(counts)
    ]


def graph_digests(folder: Path) -> dict[str, str]:
    """File to sha256 of every graph, the weights of OpenVINO IR among them."""
    graphs = (p for p in sorted(folder.iterdir()) if p.suffix in (".onnx", ".xml", ".bin"))
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in graphs}


def add_graph(bundle: Path, file: str, folder: Path, prefix: str) -> str:
    """The name that a graph of ``bundle`` gets in the bundle in ``folder``: one that is there byte
    for byte is not stored twice, any other becomes ``prefix-file`` or, where that is something
    else, ``prefix-2-file`` and so on.

    Raises:
        RecordError: it is OpenVINO IR, whose weights lie in a second file.
    """
    if not file.endswith(".onnx"):
        raise RecordError(f"{bundle / file}: expected an ONNX graph, found another format")
    digest = hashlib.sha256((bundle / file).read_bytes()).hexdigest()
    known = {found: name for name, found in graph_digests(folder).items()}
    if digest in known:
        return known[digest]
    names = (f"{prefix}-{file}" if n == 1 else f"{prefix}-{n}-{file}" for n in count(1))
    name = next(name for name in names if not (folder / name).exists())
    shutil.copyfile(bundle / file, folder / name)
    return name


def sources_table(folder: Path) -> str:
    """Markdown: what a bundle was trained on, one row a source."""
    training = json.loads((folder / "bundle.json").read_text()).get("training", {})
    if "sources" not in training:
        raise RecordError(f"{folder}/bundle.json: training.sources: expected this key")
    lines = [
        "| | modality | source | cases | redistributable | terms |",
        "| --- | --- | --- | ---: | --- | --- |",
    ]
    for source in training["sources"]:
        words = [source["dims"], source["modality"], source["source"], str(source["cases"])]
        words += ["; ".join(source["redistributable"]), "; ".join(source["licence"])]
        lines.append("| " + " | ".join(word.replace("|", "/") for word in words) + " |")
    return "\n".join(lines) + "\n"


def record(folder: Path, key: str, value: Any) -> None:
    """Set a key of ``bundle.json`` that ``inference/`` does not read."""
    path = folder / "bundle.json"
    write_json({**json.loads(path.read_text()), key: value}, path)


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write JSON, replacing the file whole."""
    text = json.dumps(content, indent=2) + "\n"
    replace_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"), ".partial")


def replace_folder(new: Path, folder: Path) -> None:
    """Move ``new`` to ``folder``; what was there goes only when the new one is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
