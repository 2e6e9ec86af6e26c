"""Slices encoded by a thread while earlier ones are decoded."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.bundle import GraphKey
from inference.decoder import Embedding
from inference.engine import EngineSettings
from inference.lookahead import Lookahead
from inference.preprocess import Frame
from inference.segment import Segmenter
from inference.tracking import make_tracks
from inference.volume import VolumeWalk
from tests.inference.builders import FakeEngine, bundle_of, spec_of

FRAME = Frame.fit(4, 4, 4, "stretch")


def embedding_of(z):
    """Of two tensors of different shapes."""
    tensors = {
        "embedding": np.full((1, 1, 2, 2), z, np.float32),
        "inner": np.full((1, 4, 4, 2), -z, np.float32),
    }
    return Embedding(FRAME, tensors, np.zeros((4, 4), np.uint8))


def slice_of(embedding):
    """The slice that all tensors are of."""
    assert np.all(embedding.tensors["inner"] == -embedding.tensors["embedding"][0, 0, 0, 0])
    return embedding.tensors["embedding"][0, 0, 0, 0]


class Encoder:
    """Remembers what it encoded and in which thread; ``begun`` is set with every slice."""

    def __init__(self, broken=()):
        self.slices, self.threads, self.broken = [], [], broken
        self.begun = {z: threading.Event() for z in range(20)}

    def __call__(self, z):
        self.slices.append(z)
        self.threads.append(threading.current_thread())
        self.begun[z].set()
        if z in self.broken:
            raise ValueError(f"slice {z}")
        return embedding_of(z)


def test_the_next_slices_are_begun_before_they_are_asked_for():
    encoder = Encoder()
    with Lookahead(encoder, [3, 4, 5, 6, 7], 2) as source:
        assert encoder.begun[3].wait(10) and encoder.begun[4].wait(10)
        assert slice_of(source.take(3)) == 3
        assert encoder.slices == [3, 4]  # 5 not yet
        source.step(())
        assert encoder.begun[5].wait(10)
        assert encoder.slices == [3, 4, 5]
        assert slice_of(source.take(4)) == 4
    assert threading.current_thread() not in encoder.threads


def test_several_threads_encode_as_many_slices_at_a_time():
    together = threading.Barrier(2)

    def encode(z):
        together.wait(10)  # goes on when there are two
        return embedding_of(z)

    with Lookahead(encode, [0, 1, 2, 3], 4, threads=2) as source:
        for z in range(4):
            assert slice_of(source.take(z)) == z
            source.step(())


def test_kept_slices_do_not_keep_the_thread_from_those_behind_them():
    encoder = Encoder()
    with Lookahead(encoder, [0, 1, 2, 1, 0, 9, 8, 7], 2) as source:
        for z in (0, 1, 2):
            source.take(z)
            source.step({0, 1})
        assert encoder.begun[9].wait(10) and encoder.begun[8].wait(10)
    assert encoder.slices == [0, 1, 2, 9, 8]


def test_none_ahead_is_no_thread():
    encoder = Encoder()
    with Lookahead(encoder, [3, 4, 5], 0) as source:
        for z in (3, 4, 5):
            source.take(z)
            source.step(())
    assert encoder.slices == [3, 4, 5] and set(encoder.threads) == {threading.current_thread()}


def test_what_is_kept_is_not_encoded_again():
    encoder = Encoder()
    with Lookahead(encoder, [1, 2, 1, 3], 3) as source:
        source.take(1)
        source.step({1})
        assert encoder.begun[3].wait(10)
    assert encoder.slices == [1, 2, 3]


def test_a_slice_that_cannot_be_encoded_is_told_where_it_is_asked_for():
    with Lookahead(Encoder(broken={2}), [1, 2], 1) as source:
        source.take(1)
        source.step(())
        with pytest.raises(ValueError, match="slice 2"):
            source.take(2)


def test_no_thread_outlives_the_walk():
    before = threading.active_count()
    with Lookahead(Encoder(), [1, 2], 1) as source:
        source.take(1)
        source.step(())
    assert threading.active_count() == before


box = st.tuples(*[st.integers(0, 7)] * 2).map(sorted)


@given(spans=st.lists(box, min_size=1, max_size=4), limit=st.sampled_from([0, 3000, 1 << 29]))
def test_a_walk_that_looks_ahead_encodes_and_answers_the_same(spans, limit):
    volume = np.random.default_rng(0).integers(0, 255, (8, 16, 16)).astype(np.uint8)
    volume[:, 0, 0] = np.arange(8)
    boxes = [[3, 3, low, 12, 12, high] for low, high in spans]
    found = []
    for threads in (1, 0):
        engine = FakeEngine()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("inference.model.compile_graph", engine.compile_graph)
            model = Segmenter(bundle_of(spec_of()), EngineSettings(threads=threads)).model()
            labels = VolumeWalk(model, volume, make_tracks(boxes), limit).run()
        encoded = [int(p[0, 1, 0, 0]) for p in engine.pictures]
        found.append((labels.tolist(), sorted(encoded), engine.compiled))
    assert found[0][:2] == found[1][:2]  # by two threads at a time in no certain order
    assert found[0][2] == found[1][2] == [("encoder.onnx", 1), ("decoder.onnx", 1)]


def test_threads_that_ask_for_one_graph_at_once_have_it_compiled_once(monkeypatch):
    class SlowEngine(FakeEngine):
        def compile_graph(self, *of):
            time.sleep(0.05)
            return super().compile_graph(*of)

    engine = SlowEngine()
    monkeypatch.setattr("inference.model.compile_graph", engine.compile_graph)
    model = Segmenter(bundle_of(spec_of())).model()
    with ThreadPoolExecutor(4) as pool:  # as Model's properties do, which Python 3.11 alone locks
        graphs = list(pool.map(model._graph, [GraphKey("encoder.onnx", streams=2)] * 4))
    assert engine.compiled == [("encoder.onnx", 1)] and len(set(map(id, graphs))) == 1
