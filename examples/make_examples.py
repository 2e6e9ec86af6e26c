"""Write the demo cases, their truth and cases.csv; the same bytes every time.

    python examples/make_examples.py [--out DIR]

Needs numpy, scipy, scikit-image, pydicom and nibabel (requirements-dev.txt); downloads nothing.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from casefile import sha256, tight_boxes, write_npz
from catalogue import EXAMPLES, Example

COLUMNS = [
    "case", "dims", "modality", "kind", "content", "source", "licence", "annotation", "n_objects",
    "case_sha256", "truth_sha256",
]  # fmt: skip


def write_example(example: Example, out: Path) -> dict[str, str | int]:
    """Write one case and its truth below `out` and return its row of cases.csv."""
    picture, labels, spacing_mm = example.build()
    boxes = tight_boxes(labels)
    spacing = {} if spacing_mm is None else {"spacing": spacing_mm}
    case_path = out / "cases" / f"{example.name}.npz"
    truth_path = out / "truth" / f"{example.name}.npz"
    write_npz(case_path, {"imgs": picture, "boxes": boxes, **spacing})
    write_npz(truth_path, {"gts": labels, **spacing})
    return {
        "case": example.name,
        "dims": example.dims,
        "modality": example.modality,
        "kind": example.kind,
        "content": example.content,
        "source": example.source,
        "licence": example.licence,
        "annotation": example.annotation,
        "n_objects": len(boxes),
        "case_sha256": sha256(case_path),
        "truth_sha256": sha256(truth_path),
    }


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when everything was written, 1 when a package is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).resolve().parent,
        help="folder that gets cases/, truth/ and cases.csv (default: the folder of this program)",
    )
    out: Path = parser.parse_args(argv).out
    for name in ("cases", "truth"):
        (out / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for number, example in enumerate(EXAMPLES, start=1):
        print(f"[{number:2d}/{len(EXAMPLES)}] {example.name}", flush=True)
        try:
            rows.append(write_example(example, out))
        except ModuleNotFoundError as error:
            print(
                f"make_examples: {example.name} needs the package {error.name}, found none: "
                "install requirements-dev.txt",
                file=sys.stderr,
            )
            return 1
    with open(out / "cases.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
