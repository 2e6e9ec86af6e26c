"""Pictures of failures: only of cases whose terms allow it."""

import numpy as np
import pytest
from PIL import Image

from training.failures import BOX, FOUND, TRUTH, draw_case, draw_failures, outlines
from training.store import read_store
from training.validate import CaseAccuracy, write_accuracy


class Oracle:
    """A segmenter that answers with what it is given."""

    def __init__(self, labels):
        self.labels = labels

    def segment(self, image, boxes, modality):
        return self.labels(image)

    segment_volume = segment


def shifted(image):
    return np.roll(
        (image if image.ndim == 3 and image.shape[2] != 3 else image[..., 0]) > 100, 6, -1
    )


@pytest.mark.parametrize("dims", ["2D", "3D"])
def test_truth_and_answer_are_outlined(full_store, dims):
    case = next(c for c in read_store(full_store, "test") if c.info.dims == dims)
    shown = np.asarray(draw_case(Oracle(shifted), case))
    assert max(shown.shape[:2]) == 480
    for colour in (TRUTH, FOUND, BOX):
        assert (shown == colour).all(axis=2).sum() > 50


def test_an_outline_is_one_pixel_inside():
    labels = np.zeros((7, 7), np.int32)
    labels[1:6, 1:6] = 2
    assert outlines(labels).sum() == 16 and not outlines(labels)[3, 3]


def test_cases_that_may_not_be_shown_are_not_drawn(full_store, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "training.failures.inference.load", lambda bundle, precision: Oracle(shifted)
    )
    rows = [
        CaseAccuracy(c.info.file, c.info.dims, c.info.modality, f"s{i}", c.info.group, 1,
                     i / 10, 0.0, 0.0, 0.0)
        for i, c in enumerate(read_store(full_store, "test"))
    ]  # fmt: skip
    write_accuracy(rows[::-1], tmp_path / "a.csv")
    paths = draw_failures(tmp_path, full_store, tmp_path / "a.csv", tmp_path / "out", 3)
    names = ["2DBox_US_test0.png", "2DBox_US_test1.png", "3DBox_CT_test0.png"]  # not ..._test2
    assert [p.name for p in paths] == names
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names)
    with Image.open(paths[0]) as picture:
        assert picture.mode == "RGB"
