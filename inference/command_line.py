"""The program: the cases of a folder one after the other, as :mod:`inference.options` has it asked.

A case that cannot be read is refused with one line; the others are still done.
"""

import contextlib
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference import IMPORTED_S, head_start, profile
from inference.bundle_file import read_bundle
from inference.engine import EngineSettings
from inference.errors import CaseError, InferenceError, UsageError
from inference.loading import GraphLoader
from inference.messages import say, tell_info, tell_warning
from inference.modality import dims_of, modality_of
from inference.options import options
from inference.precision import resolve_precision
from inference.progress import Progress

if TYPE_CHECKING:
    from inference.case import Case
    from inference.segment import Segmenter


def main(argv: list[str] | None = None, held: list[Any] | None = None) -> int:
    """Run the command line; returns the exit status.

    ``held`` gets what was opened, for as long as the caller keeps it: a process that ends with
    :func:`inference.ending.leave` leaves it to the kernel.
    """
    args = options(sys.argv[1:] if argv is None else argv)
    if args.verbose:  # else warnings alone are told, and that needs no setting up
        import logging

        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if args.threads < 0:
            raise UsageError(f"--threads: expected 0 or more, found {args.threads}")
        with profiled(args.profile):
            return run(args, [] if held is None else held)
    except InferenceError as error:
        say(f"error: {one_line(str(error))}")
        return 2


@contextlib.contextmanager
def profiled(file: Path | None) -> Iterator[None]:
    """Measure what is done inside, and tell it; nothing without a file.

    Raises:
        UsageError: the file cannot be written, told before anything is done.
    """
    if file is None:
        yield
        return
    try:
        file.open("a").close()
    except OSError as error:
        raise UsageError(f"{file}: expected a file to write to, found: {error.strerror}") from error
    profile.begin()
    began, now = profile.process_began_s(), time.perf_counter()
    if began is not None:
        profile.add("start-up", began, IMPORTED_S)
    profile.add("import", IMPORTED_S, now)
    yield
    for began_s, ended_s, thread in head_start.spans():
        profile.add("open graph", began_s, ended_s, thread)
    spans = profile.end()
    file.write_text(profile.trace(spans), encoding="utf-8")
    say(profile.table(spans, threading.get_ident()))


def run(args: Any, held: list[Any]) -> int:
    """Do what the checked command line asks for; graphs are loaded while numpy is imported and the
    first case is read.  ``held`` as for :func:`main`."""
    cache = None if args.cache is None else Path(args.cache)
    with profile.span("bundle"):
        bundle = read_bundle(Path(args.model), args.fidelity)
    precision = resolve_precision(args.precision, args.engine, bundle.record)
    tell_info("inference", f"computing in {precision}")
    must_keep = args.compile_only and cache is not None
    settings = EngineSettings(args.engine, precision, args.threads, cache, must_keep=must_keep)
    loader = GraphLoader(bundle, settings)
    paths: list[Path] = []
    if not args.compile_only:
        inputs = input_folder(args.input)
        outputs = output_folder(args.output, inputs)
        paths = case_files(inputs)
        if not paths:
            tell_warning("inference", f"{inputs}: {why_none(inputs)}")
        elif settings.cache_dir is not None and paths[0].suffix == ".npz":
            loader.start(modality_of(paths[0].name), dims_of(paths[0].name))
    segmenter = import_segmenter()(bundle, settings, loader)
    held.append(segmenter)
    return compile_all(segmenter) if args.compile_only else segment_all(segmenter, paths, outputs)


def import_segmenter() -> type["Segmenter"]:
    """The class, and with it numpy; what imports make stays, so no garbage is looked for, now or
    later."""
    gc.disable()
    try:
        with profile.span("import"):
            from inference.segment import Segmenter
        gc.freeze()
    finally:
        gc.enable()
    return Segmenter


def input_folder(given: Path | None) -> Path:
    """The folder of cases, which must exist."""
    folder = given or (Path("/inputs") if Path("/inputs").is_dir() else Path("inputs"))
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder of npz cases, found none")
    return folder


def output_folder(given: Path | None, inputs: Path) -> Path:
    """The folder of masks, made where it is missing; never the cases' own or one inside it, for
    nothing is written there."""
    folder = given or (Path("/outputs") if Path("/outputs").is_dir() else Path("outputs"))
    try:
        is_inside = folder.resolve().is_relative_to(inputs.resolve())
    except (OSError, RuntimeError) as error:  # a link to itself
        raise UsageError(f"{folder}: expected a folder for masks, found: {error}") from error
    if is_inside:
        raise UsageError(f"{folder}: expected a folder outside the cases' own, {inputs}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder}: expected a folder to write masks to, found: {error.strerror}"
        ) from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder}: expected a folder that user {os.getuid()} may write to")
    return folder


def compile_all(segmenter: "Segmenter") -> int:
    """Compile every graph of the bundle; the cache, if one is given, must keep them
    (``must_keep``)."""
    segmenter.bundle.verify()
    for modality in segmenter.bundle.routing:
        segmenter.model(modality).compile()
    return 0


def case_files(folder: Path) -> list[Path]:
    """Every ``*.npz`` of a folder, and its NIfTI and PNG files that have boxes, in the order of
    their names; hidden ones, as for a shell, are none."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(
            f"{folder}: expected a folder of npz cases, found: {error.strerror}"
        ) from error
    shown = [p for p in found if not p.name.startswith(".")]
    cases = [p for p in shown if p.suffix == ".npz"]
    if any(p.suffix in (".json", ".csv") for p in shown):
        from inference.formats import picture_files

        cases = sorted(cases + picture_files(folder, [p.name for p in shown]))
    return cases


def why_none(folder: Path) -> str:
    """What to say of a folder without cases."""
    from inference.box_lists import SUFFIXES

    scans = sorted(p.name for p in folder.iterdir() if p.name.lower().endswith(SUFFIXES))
    if not scans:
        return "expected npz cases, found none"
    return f"expected npz cases or a list of boxes beside {scans[0]}, found neither"


def segment_file(segmenter: "Segmenter", path: Path, target: Path) -> int:
    """Segment one case into ``target``; returns how many boxes it had."""
    if path.suffix == ".npz":
        from inference.case import read_case, write_mask

        with profile.span("read"):
            case = read_case(path)
        labels = segment_named(segmenter, case, modality_of(case.name), path.name)
        with profile.span("write"):
            write_mask(target, labels)
        return len(case.boxes)
    from inference.formats import read_scan

    scan = read_scan(path)
    scan.write(target, segment_named(segmenter, scan.case, scan.modality, path.name))
    return len(scan.case.boxes)


def segment_named(segmenter: "Segmenter", case: "Case", modality: str, name: str) -> Any:
    """Labels of a case; a refusal says which file's it is."""
    try:
        return segmenter.segment_case(case, modality)
    except CaseError as error:
        raise CaseError(f"{name}: {error}") from None


def segment_all(segmenter: "Segmenter", paths: list[Path], outputs: Path) -> int:
    """Segment every case; 0 when all were done, 1 when some were refused."""
    refused = 0
    with Progress("cases", len(paths)) as progress:
        for path in paths:
            began = time.perf_counter()
            try:
                count = segment_file(segmenter, path, outputs / path.name)
            except CaseError as error:
                refused += refuse(str(error))
            except InferenceError:
                raise
            except MemoryError:
                refused += refuse(f"{path.name}: not enough memory")
            except Exception as error:  # one bad case must never stop the rest, whatever it hit
                tell_info("inference", "unexpected failure", error)
                refused += refuse(f"{path.name}: {type(error).__name__}: {error}")
            else:
                seconds = time.perf_counter() - began
                tell_info("inference", f"{path.name}: {count} boxes, {seconds:.3f} s")
            progress.step()
    if refused:
        say(f"{len(paths) - refused} of {len(paths)} cases done, {refused} refused")
    return 1 if refused else 0


def refuse(reason: str) -> int:
    """Tell why a case is not done; returns how many that are."""
    say(f"refused: {one_line(reason)}")
    return 1


def one_line(text: str) -> str:
    """``text`` without line breaks."""
    return " ".join(text.split())
