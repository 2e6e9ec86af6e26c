"""The network in three dimensions: shapes, and what a pixel shuffle does."""

import pytest

from tests.training.conftest import TINY_VOLUMES


def network(**changes):
    from training.recipe import VolumeModelConfig
    from training.volume_model import VolumeNetwork

    return VolumeNetwork(VolumeModelConfig(**(TINY_VOLUMES | changes)))


@pytest.mark.parametrize("grid", [(8, 16, 16), (16, 32, 16)])
def test_every_cell_of_a_region_gets_a_logit(grid):
    import torch

    z, y, x = grid
    crops, place = torch.rand(2, 2, z, y, x), torch.rand(2, 6, z, y // 2, x // 2)
    logits = network().eval()(crops, place)
    assert logits.shape == (2, z, y, x) and logits.isfinite().all()


def test_a_box_s_answer_does_not_depend_on_the_boxes_beside_it():
    import torch

    net = network().eval()
    crops, place = torch.rand(3, 2, 8, 16, 16), torch.rand(3, 6, 8, 8, 8)
    torch.testing.assert_close(net(crops, place)[1:2], net(crops[1:2], place[1:2]))


def test_quarters_are_woven_as_a_pixel_shuffle_does_it():
    import torch

    from training.volume_model import woven

    quarters = torch.rand(2, 4, 3, 5, 6)
    expected = torch.stack(
        [torch.nn.functional.pixel_shuffle(quarters[:, :, z], 2)[:, 0] for z in range(3)], 1
    )
    assert torch.equal(woven(quarters), expected)
