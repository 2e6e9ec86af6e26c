"""Promptable segmentation of medical images on a CPU: npz cases with boxes in, mask npz out.

From Python::

    import inference

    segmenter = inference.load()  # or inference.load("path/to/bundle", threads=4)
    labels = segmenter.segment(image, boxes)  # (H, W); boxes (N, 4), both ends inclusive
    labels = segmenter.segment_volume(volume, boxes, spacing)  # (D, H, W); boxes (N, 6)
    embedded = segmenter.embed(image)  # keeps the embedding:
    labels = embedded.segment(another_box)  # a further box costs only a decode
"""

from __future__ import annotations

import time

IMPORTED_S = time.perf_counter()
"""When this package was imported, before anything else of it; for ``--profile``."""

TYPE_CHECKING = False  # as typing's, whose import would hold up the graphs (head_start.py)
if TYPE_CHECKING:
    from os import PathLike

    from inference.bundle import Fidelity
    from inference.engine import EngineName, PrecisionChoice
    from inference.segment import Segmenter


def load(
    bundle: str | PathLike[str] | None = None,
    engine: EngineName = "openvino",
    precision: PrecisionChoice = "auto",
    threads: int = 0,
    cache_dir: str | PathLike[str] | None = None,
    fidelity: Fidelity | None = None,
) -> Segmenter:
    """Load a model bundle (default: the one that ships) to segment any number of pictures and
    volumes.

    Args:
        bundle: folder with bundle.json.
        engine: ``openvino`` or ``onnxruntime``.
        precision: ``f32``, ``bf16`` (OpenVINO on a processor with bf16), or ``auto``: bf16 where
            the processor is fast in it and the bundle's record says that it costs next to nothing
            (:mod:`inference.precision`).
        threads: 0 for as many as the process may use.
        cache_dir: keeps compiled graphs from one process to the next; None keeps none.
        fidelity: ``corrected`` or ``published`` (docs/challenge_models.md); None: as the bundle
            says.
    Raises:
        BundleError, EngineError: see :mod:`inference.errors`.
    """
    from pathlib import Path

    from inference.bundle import DEFAULT_BUNDLE
    from inference.bundle_file import read_bundle
    from inference.engine import EngineSettings
    from inference.precision import resolve_precision
    from inference.segment import Segmenter

    read = read_bundle(DEFAULT_BUNDLE if bundle is None else Path(bundle), fidelity)
    settings = EngineSettings(
        engine,
        resolve_precision(precision, engine, read.record),
        threads,
        None if cache_dir is None else Path(cache_dir),
    )
    return Segmenter(read, settings)
