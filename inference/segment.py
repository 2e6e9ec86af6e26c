"""The pipeline of one picture: embed it once, then answer boxes (volumes: volume.py)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.bundle import Bundle, GraphKey, ModelSpec
from inference.case import Case, check_boxes, label_type, make_case
from inference.decoder import Embedding, Prompt, make_decoder, make_draws, make_others
from inference.engine import AS_OPEN, Array, EngineSettings, Graph, compile_graph
from inference.errors import CaseError, EngineError
from inference.loading import GraphLoader
from inference.modality import UNKNOWN
from inference.overlap import paint, paint_by_logits, painting_order, ranks_of
from inference.postprocess import Mask, as_label_type
from inference.preprocess import Frame, encoder_input
from inference.profile import span
from inference.prompt import box_edges

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
        return self._graph(GraphKey(self.spec.decoder, self.spec.boxes_at_once))

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
        return 1 if is_there else self._settings.slice_streams

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
        if rule is None:
            return self.embed(picture)
        many = boxes >= rule.least
        embedding = self.embed(picture, self._keys(many))
        if not many:
            return embedding
        with span("encode"):
            prepare = self.for_many[0]
            with span("encoder graph"):
                found = prepare.run(embedding.tensors)
        tensors = {**embedding.tensors, **_named(found, rule.names, rule.prepare)}
        return replace(embedding, tensors=tensors, for_many=True)

    def _keys(self, for_many: bool) -> tuple[GraphKey, ...]:
        """The graphs that follow the encoder."""
        rule = self.spec.many_boxes
        if rule is None or not for_many:
            return (GraphKey(self.spec.decoder, self.spec.boxes_at_once),)
        return (GraphKey(rule.prepare), GraphKey(rule.decoder, AS_OPEN))

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
            encoder = encoder_of()  # waited for: opened beside others it comes later
            if self._loader is not None:
                self._loader.begin([key for key in needed_next if key not in self._compiled])
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
        graph = self.for_many[1] if embedding.for_many else self.decoder
        return self._asker.answer(graph, embedding, prompts)


def _named(found: Sequence[Array], names: Sequence[str], graph: str) -> dict[str, Array]:
    """Outputs by name; a graph may give more than are asked for."""
    if len(found) < len(names):
        raise EngineError(f"{graph}: expected the outputs {', '.join(names)}, found {len(found)}")
    return dict(zip(names, found, strict=False))


class EmbeddedImage:
    """A picture whose embedding is kept: every further box costs only a decode."""

    def __init__(self, model: Model, image: NDArray[np.generic]) -> None:
        self._model = model
        case = _picture_case(image, np.zeros((0, 4)))
        self.embedding = model.embed(np.array(case.image))  # a copy: the caller may reuse his array

    def segment(self, boxes: ArrayLike) -> NDArray[np.unsignedinteger]:
        """Labels (H, W), box i painted with label i + 1; which box a pixel of two objects belongs
        to says the model's ``overlap``.

        Args:
            boxes: (N, 4) or (4,) x_min, y_min, x_max, y_max, both ends inclusive.
        Raises:
            CaseError: a box that is reversed, not finite or outside the image.
        """
        checked = check_boxes(np.asarray(boxes), self.embedding.picture.shape[:2])
        return answer_image(self._model, self.embedding, checked)


def _picture_case(image: NDArray[np.generic], boxes: NDArray[np.generic]) -> Case:
    """A checked picture with its boxes; a volume is refused."""
    case = make_case("image", image, boxes)
    if case.is_volume:
        found = f"{image.shape} with boxes {boxes.shape}"
        raise CaseError(f"imgs: expected a picture with boxes (N, 4), found {found}")
    return case


def answer_image(
    model: Model, embedding: Embedding, boxes: NDArray[np.float64]
) -> NDArray[np.unsignedinteger]:
    """Labels (H, W) of checked inclusive boxes (N, 4)."""
    labels = np.zeros((embedding.frame.height, embedding.frame.width), label_type(len(boxes)))
    spec, edges, draws = model.spec, box_edges(boxes), make_draws(model.spec)
    by_logits = spec.overlap == "higher-logit" and len(boxes) > 1
    order = painting_order(boxes, spec.overlap) if by_logits else range(len(boxes))
    prompts = []
    for i in order:
        x0, y0, x1, y1 = edges[i].tolist()
        keep = (x0, y0, x1, y1) if spec.clip_to_box else None
        others = make_others(spec, edges, i)
        prompts.append(Prompt((x0, y0, x1, y1), keep, draws=draws, others=others))
    masks = model.answers(embedding, prompts)
    if by_logits:
        paint_by_logits(labels, masks, order)
    else:
        ranks = ranks_of(boxes, spec.overlap)
        for label, mask in enumerate(masks, 1):
            paint(labels, mask, label, ranks)
    return as_label_type(labels, spec.label_type)


class Segmenter:
    """A bundle, loaded once, for any number of pictures and volumes."""

    def __init__(
        self,
        bundle: Bundle,
        settings: EngineSettings | None = None,
        loader: GraphLoader | None = None,
    ) -> None:
        self.bundle = bundle
        self._loader = loader
        self.settings = settings or EngineSettings()
        self._models: dict[str, Model] = {}
        self._compiled: dict[GraphKey, Graph] = {}

    def model(self, modality: str = UNKNOWN, is_volume: bool = False) -> Model:
        """The model that answers for ``modality``; others of the bundle are never loaded."""
        name = self.bundle.model_for(modality, is_volume)
        if name not in self._models:
            self._models[name] = Model(
                self.bundle, name, self.settings, self._compiled, self._loader
            )
        return self._models[name]

    def embed(self, image: NDArray[np.generic], modality: str = UNKNOWN) -> EmbeddedImage:
        """Encode a picture (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) once, to ask about boxes
        later."""
        return EmbeddedImage(self.model(modality), image)

    def segment(
        self, image: NDArray[np.generic], boxes: ArrayLike, modality: str = UNKNOWN
    ) -> NDArray[np.unsignedinteger]:
        """Labels (H, W) of a picture; see :meth:`EmbeddedImage.segment`."""
        return self.segment_case(_picture_case(image, np.asarray(boxes)), modality)

    def segment_volume(
        self,
        volume: NDArray[np.generic],
        boxes: ArrayLike,
        spacing: ArrayLike | None = None,
        modality: str = UNKNOWN,
    ) -> NDArray[np.unsignedinteger]:
        """Labels (D, H, W) of a volume (D, H, W).

        Args:
            boxes: (N, 6) or (6,) x_min, y_min, z_min, x_max, y_max, z_max, both ends inclusive.
            spacing: x, y, z in mm; accepted for the day a model uses it, not used by the present
            ones.
        Raises:
            CaseError: a box that is reversed, not finite or outside the volume.
        """
        rows = np.asarray(boxes)
        rows = np.zeros((0, 6)) if rows.size == 0 else rows
        case = make_case("volume", volume, rows, None if spacing is None else np.asarray(spacing))
        if not case.is_volume:
            found = f"{volume.shape} with boxes {rows.shape}"
            raise CaseError(f"imgs: expected (D, H, W) with boxes (N, 6), found {found}")
        return self.segment_case(case, modality)

    def segment_case(self, case: Case, modality: str = UNKNOWN) -> NDArray[np.unsignedinteger]:
        """Labels of a checked case, shaped like its picture; without boxes nothing is encoded."""
        if case.scribbles is not None:
            from inference.scribble import answer_scribbles

            return answer_scribbles(self.model(modality), case.image, case.scribbles)
        if len(case.boxes) == 0:
            return np.zeros(case.image.shape if case.is_volume else case.image.shape[:2], np.uint8)
        model = self.model(modality, case.is_volume)
        if not case.is_volume:
            embedding = model.embed_for(case.image, len(case.boxes))
            return answer_image(model, embedding, case.boxes)
        if model.spec.volume_region is not None:
            from inference.volume_region import answer_regions

            with span("regions"):
                return answer_regions(model, case.image, case.boxes)
        from inference.volume import answer_volume

        with span("propagate"):
            return answer_volume(model, case.image, case.boxes)
