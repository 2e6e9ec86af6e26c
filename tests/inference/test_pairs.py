"""Many boxes of a picture, two at a time: the same masks in the same order."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.bundle import read_bundle
from inference.engine import EngineSettings, compile_graph
from inference.errors import EngineError
from inference.pairs import RUNS_FROM, Pairs, pairs_pay
from inference.rules import DrawnPromptRule, SamRule
from inference.segment import Segmenter
from tests.inference.builders import bright_logits, spec_of, write_bundle

SAM = spec_of(sam=SamRule(box_offset=0))
TWO = EngineSettings(threads=2)
PATIENCE_S = 30


def pairs_of(open_graph):
    """Ready for many boxes."""
    made = Pairs(SAM, TWO, open_graph)
    assert made.expect(RUNS_FROM)
    return made


def test_two_are_asked_at_a_time_and_answered_in_order():
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def ask(graph, batch):
        both.wait()  # nobody comes past alone
        return [f"{graph} {question}" for question in batch]

    found = pairs_of(lambda settings: "graph").answer(ask, [[1, 2], [3, 4], [5], [6]])
    assert found == [f"graph {i}" for i in range(1, 7)]


def test_a_copy_that_does_not_open_is_told_where_it_is_asked():
    def refuse(settings):
        assert settings == replace(TWO, at_once=2)
        raise EngineError("no graph")

    waiting = pairs_of(refuse)
    with pytest.raises(EngineError, match="no graph"):
        waiting.answer(lambda graph, batch: [], [[1]])


def test_one_box_that_fails_fails_the_picture():
    def ask(graph, batch):
        if batch == [2]:
            raise EngineError("box 2")
        return batch

    with pytest.raises(EngineError, match="box 2"):
        pairs_of(lambda settings: None).answer(ask, [[1], [2], [3]])


@pytest.mark.parametrize(
    ("spec", "settings", "runs", "pays"),
    [
        (SAM, TWO, RUNS_FROM, True),
        (SAM, TWO, RUNS_FROM - 1, False),
        (spec_of(), TWO, RUNS_FROM, False),
        (replace(SAM, drawn=DrawnPromptRule(stream="case")), TWO, RUNS_FROM, False),
        (SAM, EngineSettings(threads=1), RUNS_FROM, False),
        (SAM, EngineSettings("onnxruntime", threads=2), RUNS_FROM, False),
    ],
)
def test_pairs_are_for_many_boxes_of_decoders_whose_order_is_free(spec, settings, runs, pays):
    assert pairs_pay(spec, settings, runs) == pays


@pytest.mark.parametrize("kept", [False, True], ids=["compiled", "kept"])
def test_a_graph_for_two_at_a_time_keeps_its_answers_apart(tmp_path, kept):
    folder = write_bundle(tmp_path / "bundle", SAM, schema=2)
    settings = replace(TWO, at_once=2, cache_dir=tmp_path / "cache" if kept else None)
    for _ in range(2 if kept else 1):  # the second is loaded from the cache
        graph = compile_graph(read_bundle(folder), "decoder.onnx", settings)
    grey = np.random.default_rng(0).uniform(0, 255, (2, 1, 1, 16, 16)).astype(np.float32)
    boxes = np.array([[[1, 2, 9, 12]], [[4, 0, 15, 15]]], np.float32)
    whole = np.array([[0, 0, 16, 16]], np.float32)
    together, wrong = threading.Barrier(2, timeout=PATIENCE_S), []

    def run(i):
        expected = bright_logits(grey[i, :, 0], boxes[i], whole)
        together.wait()
        for _ in range(200):
            (found,) = graph.run({"embedding": grey[i], "boxes": boxes[i]})
            if not np.allclose(found, expected, atol=1e-4):
                wrong.append(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_a_picture_s_masks_are_those_of_one_box_at_a_time(tmp_path, monkeypatch):
    folder = write_bundle(tmp_path / "bundle", SAM, schema=2)
    random = np.random.default_rng(1)
    picture = random.integers(0, 256, (40, 50), dtype=np.uint8)
    low = random.integers(0, 25, (40, 2))
    boxes = np.concatenate([low, low + random.integers(1, 15, (40, 2))], axis=1)
    opened = []
    monkeypatch.setattr(
        "inference.segment.compile_graph",
        lambda *asked: opened.append(asked[2].at_once) or compile_graph(*asked),
    )
    found = [
        Segmenter(read_bundle(Path(folder)), EngineSettings(threads=n)).segment(picture, boxes)
        for n in (1, 2)
    ]
    assert opened.count(2) == 1 and found[0].max() > 1
    assert np.array_equal(*found)
