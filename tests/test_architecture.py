"""What may import what, and what must not stand in any file."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYOUT = (
    *("Dockerfile", "predict.sh", "requirements.txt", "inference", "evaluation", "data_splits"),
    *("training", "tests", "benchmarks", "docs", "examples", "Makefile", "pyproject.toml"),
    *("README.md", "CHANGELOG.md", "LICENSE", ".ci/run"),
)

ENGINES = {"openvino", "onnxruntime"}
READERS = {"nibabel", "PIL"}
"""Only for files that are no npz; in formats.py alone, and loaded by the first such file."""

DEFLATE = {"isal"}
"""In npz.py, loaded by the first large array, and in blob.py, by the first large compiled graph;
zlib does it without."""

PROGRAMS = {"inference", "evaluation", "training", "data_splits"}

BUNDLE_LIMIT_BYTES = 30_000_000

FORBIDDEN_WORDS = tuple(
    joint.join(parts).encode()
    for joint, parts in (
        (".", ("pypi", "org")),
        (".", ("pythonhosted", "org")),
        (".", ("deb", "debian", "org")),
        (".", ("security", "debian", "org")),
        (".", ("snapshot", "debian", "org")),
        (".", ("archive", "ubuntu", "com")),
        (".", ("npmjs", "org")),
        (".", ("registry-1", "docker", "io")),
        (".", ("hub", "docker", "com")),
        (".", ("ghcr", "io")),
        (".", ("anaconda", "org")),
        (".", ("download", "pytorch", "org")),
        ("/", ("", "work", "")),
        ("/", ("", "tmp", "tv")),
        ("/", ("", "tmp", "data")),
        ("/", ("", "root", "")),
    )
)
"""Hosts of package registries, and paths of the machine this was written on; in parts, so that
this file does not hold them."""


EXPORT = ROOT / "inference" / "export"
"""Of the build stage: the only part of inference/ that may import torch and kornia."""


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def run_time_modules() -> list[Path]:
    return [path for path in modules("inference") if not path.is_relative_to(EXPORT)]


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level name of everything that a syntax tree imports, by literal name too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in ("import_module", "__import__"):
                yield str(node.args[0].value).split(".")[0]


def at_start(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported: those outside functions."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        waiting += ast.iter_child_nodes(node)


def tracked_files() -> list[Path]:
    line = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(line, capture_output=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("path", run_time_modules(), ids=lambda path: path.name)
def test_inference_imports_only_the_standard_library_numpy_and_engines(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy", "inference"} | ENGINES
    if path.name == "formats.py":
        allowed |= READERS
    if path.name in ("npz.py", "blob.py"):
        allowed |= DEFLATE
    assert set(imported(ast.parse(path.read_bytes()))) <= allowed


@pytest.mark.parametrize("path", run_time_modules(), ids=lambda path: path.name)
def test_the_run_time_knows_nothing_of_the_build_stage(path: Path) -> None:
    assert b"inference.export" not in path.read_bytes()


def test_the_image_holds_nothing_of_the_build_stage() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "inference/export" in ignored
    for pinned in ("torch", "kornia", "safetensors"):
        assert pinned not in (ROOT / "requirements.txt").read_text()
        assert f"{pinned}==" in (ROOT / "requirements-export.txt").read_text()


@pytest.mark.parametrize("path", modules("inference/export"), ids=lambda path: path.name)
def test_the_build_stage_imports_no_other_program(path: Path) -> None:
    allowed = {"numpy", "torch", "kornia", "safetensors", "inference"} | ENGINES
    assert set(imported(ast.parse(path.read_bytes()))) <= set(sys.stdlib_module_names) | allowed


@pytest.mark.parametrize("path", run_time_modules(), ids=lambda path: path.name)
def test_inference_loads_an_engine_only_when_it_needs_it(path: Path) -> None:
    names = {name for node in at_start(ast.parse(path.read_bytes())) for name in imported(node)}
    assert not names & (ENGINES | READERS | DEFLATE)


@pytest.mark.parametrize("path", modules("evaluation"), ids=lambda path: path.name)
def test_evaluation_imports_no_other_program_of_ours(path: Path) -> None:
    forbidden = PROGRAMS - {"evaluation"}
    assert not set(imported(ast.parse(path.read_bytes()))) & forbidden


def test_importing_inference_loads_no_engine() -> None:
    unwanted = ENGINES | READERS | DEFLATE | {"torch", "evaluation"}
    program = (
        "import sys, inference.__main__, inference.command_line;"
        f"sys.exit(' '.join({unwanted} & set(sys.modules)))"
    )
    line = [sys.executable, "-c", program]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert ended.stderr.strip() == ""


def test_no_file_names_a_registry_or_a_place_on_one_machine() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {word.decode()}"
        for path in tracked_files()
        for word in FORBIDDEN_WORDS
        if word in path.read_bytes()
    }
    assert found == set()


@pytest.mark.parametrize("name", LAYOUT)
def test_the_layout_stands(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_bundle_is_small() -> None:
    files = (path for path in (ROOT / "inference" / "bundle").rglob("*") if path.is_file())
    assert 0 < sum(path.stat().st_size for path in files) <= BUNDLE_LIMIT_BYTES


STAGES = (
    *("metrics", "running", "scoring", "ranking", "comparing", "exporting", "report", "checking"),
)
"""Parts of the harness; each may import those before it, and what lies beside them."""


@pytest.mark.parametrize("stage", STAGES)
def test_the_parts_of_the_harness_import_in_one_direction_only(stage: str) -> None:
    later = set(STAGES[STAGES.index(stage) + 1 :])
    for path in modules(f"evaluation/{stage}"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            parts = {name.split(".")[1] for name in names if name.startswith("evaluation.")}
            assert not parts & later, f"{path.relative_to(ROOT)} imports {sorted(parts & later)}"
