"""The truth of a case kept on disk as runs, under the digest of its file.

What every team needs of a truth, its labels, their sizes and boxes, follows from the runs of its
label map, which are a few kilobytes and are read faster than the npz is decompressed. A file that
is damaged, or cut off, is as good as none.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

from evaluation.metrics.label_maps import map_runs
from evaluation.scoring.labelmaps import Truth
from evaluation.scoring.score_cache import keep_bytes

_LEAST_GAIN = 4
"""Runs are kept where they take at most this part of the labels' own bytes: noise is not."""


def load_truth(folder: Path, name: str) -> Truth | None:
    """Return a kept truth, or none if there is none that is whole."""
    try:
        head, _, body = _place(folder, name).read_bytes().partition(b"\n")
        facts = json.loads(head)
        if zlib.crc32(body) != facts["crc32"]:
            return None
        starts = np.frombuffer(body, np.int64, facts["runs"])
        values = np.frombuffer(body, np.dtype(facts["dtype"]), offset=starts.nbytes)
        spacing_mm = tuple(facts["spacing_mm"])
        lengths = np.append(starts[1:], facts["size"]) - starts
        labels = np.repeat(values, lengths).reshape(facts["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Truth(labels, spacing_mm, facts["origin"], map_runs(labels, starts, values))


def keep_truth(folder: Path, name: str, truth: Truth) -> None:
    """Keep a truth; a full disk only means that it is read again."""
    runs = truth.map
    body = runs.starts.tobytes() + runs.values.tobytes()
    if len(body) * _LEAST_GAIN > truth.labels.nbytes:
        return
    facts = {
        "crc32": zlib.crc32(body),
        "runs": runs.starts.size,
        "dtype": runs.values.dtype.str,
        "shape": truth.labels.shape,
        "size": truth.labels.size,
        "spacing_mm": truth.spacing_mm,
        "origin": truth.spacing_origin,
    }
    keep_bytes(_place(folder, name), json.dumps(facts).encode() + b"\n" + body)


def _place(folder: Path, name: str) -> Path:
    return folder / "truth" / f"{name}.runs"
