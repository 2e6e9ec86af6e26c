"""The pipeline of one picture: embed it once, then answer boxes (volumes: volume.py)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.bundle import Bundle, GraphKey
from inference.case import Case, check_boxes, label_type, make_case
from inference.decoder import Embedding, Prompt, make_draws, make_others
from inference.engine import EngineSettings, Graph
from inference.errors import CaseError, UsageError
from inference.loading import GraphLoader
from inference.modality import MODALITIES, UNKNOWN, modality_of
from inference.model import Model
from inference.overlap import paint, paint_by_logits, painting_order, ranks_of
from inference.postprocess import as_label_type
from inference.profile import span
from inference.prompt import box_edges


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
        """The model that answers for ``modality``; others of the bundle are never loaded.

        Raises:
            UsageError: a word that neither the bundle's routing nor a file name has for a modality.
        """
        if modality != UNKNOWN and modality not in self.bundle.routing:
            found = modality_of(modality)
            if found == UNKNOWN:
                raise UsageError(
                    f"modality: expected one of {', '.join(MODALITIES)}, found {modality!r}"
                )
            modality = found
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
        """Labels (H, W) of a picture; see :meth:`EmbeddedImage.segment`.

        Args:
            image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); see
                :func:`inference.preprocess.eight_bit` for values beyond 0..255.
            modality: as a file name would tell it, such as ``Fundus`` or ``US``; without it the
                general model answers.
        Raises:
            CaseError: as there, or it is no picture.
            UsageError: there is no such modality.
        """
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
            volume: see :func:`inference.preprocess.eight_bit` for values beyond 0..255; a CT in
                Hounsfield units is to be windowed before.
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
