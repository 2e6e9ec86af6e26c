"""Losses by hand-worked answers."""

import math

import pytest


@pytest.fixture
def square():
    import torch

    target = torch.zeros(2, 8, 8)
    target[:, 2:6, 2:6] = 1
    return target


def loss(logits, target, boxes=None, **values):
    from training.losses import mask_loss
    from training.recipe import LossConfig

    return float(mask_loss(logits, target, LossConfig(**values), boxes))


def test_a_sure_answer_costs_nothing_if_right_and_much_if_wrong(square):
    assert loss((square * 2 - 1) * 20, square) < 1e-4
    assert loss((1 - square * 2) * 20, square) > 10


def test_an_undecided_answer_by_hand(square):
    # p = 1/2 everywhere: BCE ln 2; Dice 1 - (2 * 16/2 + 1) / (64/4 + 16 + 1) = 1 - 17/33
    assert loss(square * 0, square) == pytest.approx(math.log(2) + 16 / 33)
    assert loss(square * 0, square, dice_weight=0.0) == pytest.approx(math.log(2))
    # focal: times |p - y| ** 2 = 1/4
    found = loss(square * 0, square, kind="dice-focal", dice_weight=0.0)
    assert found == pytest.approx(math.log(2) / 4)


def test_small_objects_weigh_more_by_their_box(square):
    import torch

    from training.losses import object_weights
    from training.recipe import LossConfig

    boxes = torch.tensor([[0.0, 0, 6, 6], [0, 0, 12, 3], [0, 0, 30, 30], [5, 5, 5, 9]])
    weights = object_weights(boxes, LossConfig(small_gain=2.0, small_side=24.0))
    assert weights.tolist() == pytest.approx([2.5, 2.5, 1.0, 3.0])
    logits = torch.stack([square[0] * 40 - 20, square[0] * 0])  # the first right, the second not
    large_last = loss(logits, square, boxes[[0, 2]], small_gain=2.0)
    plain = loss(logits, square)
    assert large_last == pytest.approx(plain * 2 * 1 / 3.5, rel=1e-3)
    assert loss(logits, square, boxes[[0, 2]]) == plain  # off


def test_the_expected_iou_is_compared_with_the_masks(square):
    import torch

    from training.losses import iou_loss

    half = square.clone()
    half[:, 2:4] = 0  # 8 of 16 pixels: IoU 1/2
    logits = half * 2 - 1
    assert float(iou_loss(torch.tensor([0.5, 0.5]), logits, square)) == pytest.approx(0)
    assert float(iou_loss(torch.tensor([1.0, 0.0]), logits, square)) == pytest.approx(0.25)
    empty = square * 0
    assert float(iou_loss(torch.ones(2), empty - 1, empty)) == 0  # two empty masks agree


def test_a_volume_counts_inside_the_box_alone_by_hand():
    import torch

    from training.losses import volume_loss

    target, inside = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    target[:, :, 1:3, 1:3], inside[:, :, :3, :3] = 1, 1
    undecided = torch.zeros_like(target)
    # p = 1/2 in 18 cells, 8 of them the object: Dice 1 - (2 * 8/2 + 1) / (18/4 + 8 + 1)
    expected = math.log(2) + 1 - 9 / 13.5
    assert float(volume_loss(undecided, target, inside)) == pytest.approx(expected)
    elsewhere = undecided + 30 * (1 - inside)
    assert float(volume_loss(elsewhere, target, inside)) == pytest.approx(expected)
    assert float(volume_loss((target * 2 - 1) * 30, target, inside)) < 1e-4
