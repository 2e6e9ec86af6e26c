"""Labels, sizes, boxes and overlaps of label maps against one pass for every label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.metrics import label_maps
from evaluation.metrics.label_maps import empty_map, hulls, map_labels, overlaps

SHAPES = hnp.array_shapes(min_dims=2, max_dims=3, max_side=6)
LABELS = st.sampled_from([0, 0, 1, 2, 3, 200])


@st.composite
def map_pairs(draw):
    """Two label maps of one shape."""
    shape = draw(SHAPES)
    return [draw(hnp.arrays(np.uint8, shape, elements=LABELS)) for _ in range(2)]


def box_of(array, label):
    places = np.nonzero(array == label)
    return tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in places)


@settings(deadline=None)
@given(map_pairs(), st.sampled_from([1, 2, 7, 1 << 18]))
def test_labels_sizes_and_boxes_are_those_of_each_label_alone(pair, block):
    array, _ = pair
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_maps, "_BLOCK", block)
        found = map_labels(array)
    labels = sorted(set(array[array > 0].tolist()))
    assert found.labels == tuple(labels)
    assert found.voxels.tolist() == [np.count_nonzero(array == label) for label in labels]
    assert hulls(found, found, np.arange(len(labels))) == [box_of(array, k) for k in labels]


@settings(deadline=None)
@given(map_pairs())
def test_overlaps_are_those_of_every_two_labels(pair):
    first, second = (map_labels(array) for array in pair)
    expected = {}
    for one, label in enumerate(first.labels):
        for other, name in enumerate(second.labels):
            both = np.count_nonzero((pair[0] == label) & (pair[1] == name))
            if both:
                expected[one, other] = both
    found = overlaps(first, second)
    assert {(a, b): n for a, b, n in found.tolist()} == expected
    assert len(found) == len(expected)


@settings(deadline=None)
@given(map_pairs())
def test_hulls_hold_a_label_in_both_maps(pair):
    first, second = (map_labels(array) for array in pair)
    found = hulls(first, second, second.places_of(first.labels))
    assert found == [
        box_of((pair[0] == label) | (pair[1] == label), label=True) for label in first.labels
    ]


def test_a_run_over_the_end_of_a_row_is_one_label_over_the_whole_width():
    array = np.array([[0, 0, 5], [5, 5, 0], [0, 9, 0]])
    found = map_labels(array)
    assert found.starts.tolist() == [0, 2, 5, 7, 8]
    assert hulls(found, found, np.arange(2)) == [
        (slice(0, 2), slice(0, 3)),
        (slice(2, 3), slice(1, 2)),
    ]


@pytest.mark.parametrize("dtype", ["u1", "u8", ">i4"])
def test_types_do_not_matter(dtype):
    plain = np.array([[0, 1, 1], [3, 0, 1]])
    other = plain.astype(dtype)
    assert map_labels(other).labels == (1, 3)
    assert overlaps(map_labels(plain), map_labels(other)).tolist() == [[0, 0, 3], [1, 1, 1]]


def test_an_array_in_fortran_order_is_read_in_the_order_of_its_axes():
    array = np.asfortranarray(np.array([[0, 1, 1], [3, 0, 1]]))
    assert map_labels(array).starts.tolist() == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("shape", [(0, 4), (3, 4), (2, 3, 4)])
def test_an_empty_map_is_that_of_zeros(shape):
    for found in (empty_map(shape), map_labels(np.zeros(shape, np.uint8))):
        assert found.labels == ()
        assert found.array.shape == shape
        assert found.voxels.size == found.low.size == found.high.size == 0
        assert overlaps(found, found).shape == (0, 3)
