"""Every trap of label maps: truth (``gts``) and predicted masks (``segs``)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_splits.boxes import tight_boxes
from data_splits.errors import SourceError
from data_splits.findings import Arrays, Finding, error, is_volume, spacing_findings, warning
from data_splits.sources import label_type


def truth_findings(name: str, arrays: Arrays, case: Arrays | None) -> Iterator[Finding]:
    """Findings of a truth file, alone and against its case."""
    if "gts" not in arrays:
        yield error("no-gts", f"gts: expected this key, found {', '.join(arrays) or 'none'}", "?")
        return
    yield from _type_findings("gts", arrays)
    gts = arrays["gts"]
    if gts.dtype.kind not in "iu" or gts.ndim not in (2, 3):
        return
    values = [int(v) for v in np.unique(gts) if v != 0]
    count = _box_count(case)
    if not values:
        yield error(
            "empty",
            "gts: no label at all [A3]: the script's mean of nothing is NaN",
            "leave the case out",
        )
    elif values[0] > 0 and values != list(range(1, len(values) + 1)):
        yield from _gap_findings(arrays, values, count)
    if gts.ndim == 3:
        yield from spacing_findings(arrays)
        if len(gts) > 2 and gts.any(axis=(1, 2)).all() and "source_affine_lps" not in arrays:
            yield warning(
                "slices-cut",
                "gts: every slice has labels [B5]: slices without were "
                "perhaps cut out, and neighbours may lie far apart",
                "convert again from the source without --like organisers",
            )
    if case is not None and "imgs" in case:
        yield from _against_case("gts", arrays["gts"], case)
        if values and count is not None and count != len(values):
            yield error(
                "count",
                f"boxes: expected one for each of {len(values)} labels, found {count}",
                "make them with python -m data_splits boxes",
            )
        elif values and values[0] > 0 and count is not None and case["boxes"].ndim == 2:
            yield from _order_findings(arrays["gts"], case["boxes"])


def mask_findings(name: str, arrays: Arrays, case: Arrays | None) -> Iterator[Finding]:
    """Findings of a predicted mask, alone and against its case."""
    if "segs" not in arrays:
        yield error(
            "no-segs",
            f"segs: expected this key, found {', '.join(arrays) or 'none'}",
            "write the labels under segs",
        )
        return
    yield from _type_findings("segs", arrays)
    segs = arrays["segs"]
    if segs.dtype.kind not in "iu" or case is None or "imgs" not in case:
        return
    yield from _against_case("segs", segs, case)
    count = _box_count(case)
    if count is None:
        return
    present = {int(v) for v in np.unique(segs) if v != 0}
    if segs.dtype == np.uint8 and count > 255:
        yield error(
            "uint8", f"segs: uint8 for {count} boxes [B2]: label 256 became 0", "write uint16"
        )
    if beyond := sorted(v for v in present if v > count):
        yield error(
            "beyond",
            f"segs: labels up to {beyond[-1]} for {count} boxes",
            "label i is box i, from 1 on",
        )
    missing = [i for i in range(1, count + 1) if i not in present]
    if missing:
        shown = ", ".join(str(i) for i in missing[:8])
        yield warning(
            "missing",
            f"segs: no pixel of {len(missing)} of {count} boxes ({shown}) "
            "[A12]: nothing was found there, or a later box was painted over it",
            "look at the overlap of the boxes",
        )


def _box_count(case: Arrays | None) -> int | None:
    """How many boxes a case has; None where it is without, or they are no rows."""
    boxes = None if case is None else case.get("boxes")
    return len(boxes) if boxes is not None and boxes.ndim else None


def _type_findings(key: str, arrays: Arrays) -> Iterator[Finding]:
    labels = arrays[key]
    if labels.dtype.kind == "b":
        arrays[key] = labels.astype(np.uint8)
        yield warning("bool", f"{key}: bool", "store uint8", True)
    elif labels.dtype.kind == "f":
        fine = bool(np.isfinite(labels).all() and (labels == np.round(labels)).all())
        fine = fine and bool(labels.size == 0 or labels.min() >= 0)
        if fine:
            arrays[key] = labels.astype(label_type(int(labels.max(initial=0))))
        yield error(
            "float",
            f"{key}: {labels.dtype} [A6]: the script stops at it",
            "store whole numbers",
            fine,
        )
    elif labels.dtype.kind not in "iu":
        yield error("type", f"{key}: expected whole labels, found {labels.dtype}", "store uint8")
    elif labels.size and labels.min() < 0:
        yield error("negative", f"{key}: labels below 0, down to {labels.min()}", "use 0, 1, 2, ..")


def _gap_findings(arrays: Arrays, values: list[int], count: int | None) -> Iterator[Finding]:
    """Numbers with gaps; those are closed in order if the case has a box for each label, so that
    box i is label i afterwards, or if there is no case to contradict."""
    safe = count is None or count == len(values)
    gts = arrays["gts"]
    if values == [255]:
        what = "gts: the label is 255 [A2]: the script counts 254 absent labels, and none at all "
        what += "with NumPy 2"
    else:
        shown = ", ".join(str(v) for v in values[:8])
        what = f"gts: expected labels 1 to {len(values)}, found {shown} [A1]: the script's mean is "
        what += "NaN and its NSD 0"
    if safe:
        arrays["gts"] = np.searchsorted([0, *values], gts).astype(label_type(len(values)))
        if "label_values" not in arrays:
            arrays["label_values"] = np.array(values, np.int64)
    yield error("gaps", what, "number them 1, 2, 3, ... in the order of the boxes", safe)


def _against_case(key: str, labels: NDArray[Any], case: Arrays) -> Iterator[Finding]:
    expected = case["imgs"].shape if is_volume(case) else case["imgs"].shape[:2]
    if labels.shape != expected:
        yield error(
            "shape",
            f"{key}: expected the image's shape {expected}, found {labels.shape} [A6]",
            "restore it to the case's grid",
        )


def _order_findings(gts: NDArray[Any], boxes: NDArray[Any]) -> Iterator[Finding]:
    """Whether box i is around label i."""
    try:
        tight = tight_boxes(gts)
    except SourceError:
        return  # gaps that were not closed are told already
    if tight.shape != boxes.shape:
        return
    axes = boxes.shape[1] // 2
    low = np.maximum(tight[:, :axes], boxes[:, :axes])
    high = np.minimum(tight[:, axes:], boxes[:, axes:])
    apart = np.flatnonzero((low > high).any(axis=1))
    if apart.size:
        yield error(
            "order",
            f"boxes[{apart[0]}]: no pixel in common with label {apart[0] + 1} "
            f"({apart.size} boxes): another order of boxes or axes?",
            "row i is for label i + 1; x, y, z, minima first",
        )
