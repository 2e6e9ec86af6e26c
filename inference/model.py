"""One model of a bundle at work: its graphs, each compiled when it is first needed, and what they
answer."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from inference.bundle import Bundle, GraphKey, ModelSpec
from inference.decoder import Embedding, Prompt, make_decoder
from inference.engine import AS_OPEN, Array, EngineSettings, Graph, compile_graph
from inference.errors import EngineError
from inference.loading import GraphLoader
from inference.postprocess import Mask
from inference.preprocess import Frame, encoder_input
from inference.profile import span

SLICES_AHEAD = 8
"""Enough that neither side waits for the other where slices take their turns at being dear; about
4 MiB each with SAM's embeddings."""


class Model:
    """One encoder and decoder of a bundle; each graph is compiled when first needed."""

    def __init__(
        self,
        bundle: Bundle,
        name: str,
        settings: EngineSettings,
        compiled: dict[GraphKey, Graph] | None = None,
        loader: GraphLoader | None = None,
    ) -> None:
        """``compiled``: graphs by key, shared by models that differ in settings only;
        ``loader``: where some are on their way already."""
        self.spec: ModelSpec = bundle.models[name]
        self._bundle, self._settings = bundle, settings
        self._compiled = {} if compiled is None else compiled
        self._loader = loader
        self._making = threading.Lock()
        self._asker = make_decoder(self.spec)

    @cached_property
    def encoder(self) -> Graph:
        """The compiled encoder."""
        return self._graph(GraphKey(self.spec.encoder))

    @cached_property
    def slice_encoder(self) -> Graph:
        """The compiled encoder of volumes, which encodes :attr:`slice_streams` slices at a time;
        that of pictures where it is there already."""
        if self.slice_streams == 1:
            return self.encoder
        return self._graph(GraphKey(self.spec.encoder, streams=self.slice_streams))

    @cached_property
    def decoder(self) -> Graph:
        """The compiled decoder."""
        return self._graph(*self._keys(for_many=False))

    @cached_property
    def for_many(self) -> tuple[Graph, Graph]:
        """The compiled graphs of pictures with many boxes, of a model that has them: the one that
        prepares and the decoder."""
        prepare, decode = (self._graph(key) for key in self._keys(for_many=True))
        return prepare, decode

    @cached_property
    def volume_graph(self) -> Graph:
        """The compiled graph that answers boxes of volumes whole, of a model that has one."""
        assert self.spec.volume_region is not None
        return self._graph(GraphKey(self.spec.volume_region.graph))

    @cached_property
    def scribble_decoder(self) -> Graph:
        """The compiled decoder of scribbles, of a model that has one."""
        assert self.spec.scribble is not None
        return self._graph(GraphKey(self.spec.scribble.decoder))

    def _graph(self, key: GraphKey) -> Graph:
        with self._making:  # threads that encode slices ask for theirs at once
            if key not in self._compiled:
                graph = None if self._loader is None else self._loader.take(key)
                if graph is None:
                    settings = replace(self._settings, streams=key.streams)
                    with span("load graph"):
                        graph = compile_graph(self._bundle, key.file, settings, key.batch)
                self._compiled[key] = graph
            return self._compiled[key]

    @property
    def slices_ahead(self) -> int:
        """How many slices of a volume may be encoded before they are asked for, by other threads:
        none where one thread is asked for."""
        return 0 if self._settings.threads == 1 else SLICES_AHEAD

    @cached_property
    def slice_streams(self) -> int:
        """How many slices of a volume are encoded at a time."""
        plain = GraphKey(self.spec.encoder)
        is_there = plain in self._compiled or (self._loader is not None and plain in self._loader)
        return 1 if is_there else self._settings.parallel_runs

    def compile(self) -> None:
        """Compile every graph that boxes need now."""
        _ = self.encoder, self.decoder
        if self.spec.many_boxes is not None:
            _ = self.for_many
        if self.spec.volume_region is not None:
            _ = self.volume_graph

    def embed_for(self, picture: NDArray[np.uint8], boxes: int) -> Embedding:
        """Encode a picture (H, W) or (H, W, 3) for so many boxes; the graphs that these need are
        loaded meanwhile."""
        rule = self.spec.many_boxes
        for_many = rule is not None and boxes >= rule.least
        embedding = self.embed(picture, self._keys(for_many))
        if rule is None or not for_many:
            return embedding
        with span("encode"):
            prepare = self.for_many[0]
            with span("encoder graph"):
                found = prepare.run(embedding.tensors)
        tensors = {**embedding.tensors, **_named(found, rule.names, rule.prepare)}
        return replace(embedding, tensors=tensors, for_many=True)

    def _keys(self, for_many: bool) -> tuple[GraphKey, ...]:
        """The graphs that follow the encoder."""
        if not for_many:
            return (GraphKey(self.spec.decoder, self.spec.boxes_at_once),)
        rule = self.spec.many_boxes
        assert rule is not None
        streams = self._settings.parallel_runs
        return (GraphKey(rule.prepare), GraphKey(rule.decoder, AS_OPEN, streams))

    def embed(self, picture: NDArray[np.uint8], needed_next: Sequence[GraphKey] = ()) -> Embedding:
        """Encode a picture (H, W) or (H, W, 3); ``needed_next``: graphs that are loaded meanwhile,
        where somebody loads graphs."""
        return self._embed(picture, lambda: self.encoder, needed_next)

    def embed_slice(self, picture: NDArray[np.uint8]) -> Embedding:
        """Encode a slice of a volume (H, W) or (H, W, 3); by :attr:`slice_streams` threads at a
        time if need be."""
        return self._embed(picture, lambda: self.slice_encoder)

    def _embed(
        self,
        picture: NDArray[np.uint8],
        encoder_of: Callable[[], Graph],
        needed_next: Sequence[GraphKey] = (),
    ) -> Embedding:
        spec = self.spec
        frame = Frame.fit(
            picture.shape[0], picture.shape[1], spec.input_size, spec.resize, spec.interpolation
        )
        with span("encode"):
            image = encoder_input(picture, frame, spec.normalisation, spec.interpolation)
            self._asker.expect(frame)
            if self._loader is not None:  # now: beside a run of the encoder they would delay that
                self._loader.begin([key for key in needed_next if key not in self._compiled])
            encoder = encoder_of()
            with span("encoder graph"):
                found = encoder.run({"image": image})
        tensors = _named(found, spec.embedding_names, spec.encoder)
        shown = None if spec.drawn is None else image[0].any(axis=0)
        return Embedding(frame, tensors, picture, shown)

    def answer(self, embedding: Embedding, prompts: Sequence[Prompt]) -> list[Mask]:
        """One mask a prompt, in picture pixels."""
        return list(self.answers(embedding, prompts))

    def answers(self, embedding: Embedding, prompts: Sequence[Prompt]) -> Iterator[Mask]:
        """The same one by one, so that not all masks of a large picture are kept."""
        if embedding.for_many:
            at_once = self._settings.parallel_runs
            return self._asker.answer(self.for_many[1], embedding, prompts, at_once)
        return self._asker.answer(self.decoder, embedding, prompts)


def _named(found: Sequence[Array], names: Sequence[str], graph: str) -> dict[str, Array]:
    """Outputs by name; a graph may give more than are asked for."""
    if len(found) < len(names):
        raise EngineError(f"{graph}: expected the outputs {', '.join(names)}, found {len(found)}")
    return dict(zip(names, found, strict=False))
