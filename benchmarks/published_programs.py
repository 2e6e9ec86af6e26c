"""Run one published system on cases, unchanged, with random weights: the other side of
published_agreement.py, which starts this in a process of its own.

A checkout's own modules are built and its own program is run.  What the programs import and do not
need (drawing, tables, torchvision, timm's registry) is stood in for.  Where a program loads its
checkpoint, the model is given random weights instead, batch-norm statistics included, and these are
saved as the checkpoint that we export.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from published.daft import daft_binary, daft_script
from published.medficientsam import medficient_program
from published.scripts import challenge_script, medsam_script, sam_predictor
from published.stand_ins import stand_in
from published.swin import swin_script
from published.weights import SEED


def main() -> None:
    """SYSTEM CHECKOUT WORK [--program BINARY]; cases in WORK/cases, masks into WORK/masks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=sorted(PROGRAMS))
    parser.add_argument("checkout", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--program", type=Path, help="built from the checkout's cpp/")
    args = parser.parse_args()
    stand_in()
    torch.manual_seed(SEED)
    sys.path.insert(0, str(args.checkout))
    (args.work / "masks").mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        PROGRAMS[args.system](args.system, args.checkout, args.work, args.program)


PROGRAMS: dict[str, Callable[[str, Path, Path, Path | None], None]] = {
    "litemedsam": challenge_script,
    "repmedsam": challenge_script,
    "swin-litemedsam": swin_script,
    "medsam": medsam_script,
    "sam-vit-b": sam_predictor,
    "mobilesam": sam_predictor,
    "medficientsam-l0": medficient_program,
    "medficientsam-l1": medficient_program,
    "medficientsam-l2": medficient_program,
    "daft-2024": daft_script,
    "daft": daft_binary,
}


if __name__ == "__main__":
    main()
