"""The few lines of Python that a user needs, with the bundle that ships."""

import numpy as np
import pytest

import inference
from inference.errors import BundleError, CaseError, EngineError, InferenceError, UsageError
from inference.segment import Segmenter
from tests.conftest import draw_objects
from tests.inference.builders import write_bundle

BOXES = [(10, 12, 45, 40), (60, 20, 90, 70)]


def overlap(labels, label, expected):
    """Dice of one label."""
    found = labels == label
    return 2 * (found & expected).sum() / (found.sum() + expected.sum())


def test_a_picture_is_segmented_in_two_lines(shipped):
    image = draw_objects((80, 100, 3), BOXES, 0)
    labels = shipped.segment(image, BOXES)
    assert labels.shape == (80, 100) and labels.dtype == np.uint8
    y, x = np.mgrid[:80, :100]
    for label, (x0, y0, x1, y1) in enumerate(BOXES, 1):
        inside = ((x - (x0 + x1) / 2) / (x1 - x0 + 1)) ** 2 + (
            (y - (y0 + y1) / 2) / (y1 - y0 + 1)
        ) ** 2 <= 0.25
        assert overlap(labels, label, inside) > 0.85


def test_a_volume_is_segmented_in_two_lines(shipped):
    box = [8, 10, 1, 30, 38, 5]
    labels = shipped.segment_volume(draw_objects((7, 50, 40), [box], 0), box, spacing=(1, 1, 3))
    assert labels.shape == (7, 50, 40)
    assert labels.any(axis=(1, 2)).tolist() == [False, True, True, True, True, True, False]
    assert not labels[:, :10].any() and not labels[:, :, 31:].any()


def test_a_kept_embedding_answers_as_the_whole_call_does(shipped):
    image = draw_objects((80, 100, 3), BOXES, 0)
    embedded = shipped.embed(image, modality="Ultrasound")
    assert np.array_equal(embedded.segment(BOXES), shipped.segment(image, BOXES))
    assert np.array_equal(embedded.segment(BOXES[1]), shipped.segment(image, [BOXES[1]]))


def test_a_bundle_of_ones_own_is_loaded_by_its_folder(tmp_path):
    segmenter = inference.load(
        str(write_bundle(tmp_path)), threads=1, cache_dir=str(tmp_path / "c")
    )
    assert isinstance(segmenter, Segmenter)
    assert segmenter.segment(np.full((9, 9), 255, np.uint8), [2, 2, 4, 4]).sum() == 9
    assert (tmp_path / "c").is_dir()


def test_loading_compiles_nothing_before_it_is_needed(monkeypatch):
    monkeypatch.setattr("inference.model.compile_graph", None)
    assert inference.load().bundle.name


def test_one_base_class_catches_everything_expected(tmp_path):
    for kind in (BundleError, CaseError, EngineError, UsageError):
        assert issubclass(kind, InferenceError)
    with pytest.raises(InferenceError):
        inference.load(tmp_path)


def test_a_modality_is_told_as_a_file_name_tells_it(shipped):
    image = draw_objects((80, 100, 3), BOXES, 0)
    said = shipped.segment(image, BOXES, "Fundus")
    assert not np.array_equal(said, shipped.segment(image, BOXES))  # the routing has another model
    assert np.array_equal(said, shipped.segment(image, BOXES, "fundus"))
    assert shipped.model("us") is shipped.model("Ultrasound") is shipped.model()
    with pytest.raises(UsageError, match="modality: expected one of CT, Dermoscopy.*found 'bogus'"):
        shipped.segment(image, BOXES, "bogus")
