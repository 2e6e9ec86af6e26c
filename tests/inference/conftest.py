"""The bright-pixel model behind the pipeline, and the bundle that ships."""

from collections.abc import Callable
from pathlib import Path

import pytest

import inference
from inference.segment import Segmenter
from tests.inference.builders import FakeEngine, bundle_of, spec_of


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Stands in for every engine."""
    engine = FakeEngine()
    monkeypatch.setattr("inference.model.compile_graph", engine.compile_graph)
    return engine


@pytest.fixture
def bright(fake_engine: FakeEngine) -> Callable[..., Segmenter]:
    """Makes a segmenter of the bright-pixel model on the fake engine."""
    return lambda side=16, **changes: Segmenter(bundle_of(spec_of(side, **changes)))


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """The bundle that ships, compiled once for all tests."""
    cache: Path = tmp_path_factory.mktemp("cache")
    return inference.load(threads=2, cache_dir=cache)
