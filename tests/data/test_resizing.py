import pytest
import torch

from asd_experiments.data.resizing import rescale_flow


@pytest.mark.parametrize("new_size", [16, 32, 64, 128])
def test_resizing_scales_flow_with_the_grid(new_size):
    flow = torch.full((2, 3, 64, 64), 4.0)
    flow[1] = -2.0
    rescaled = rescale_flow(flow, new_size)
    assert rescaled.shape == (2, 3, new_size, new_size)
    assert torch.allclose(rescaled[0], torch.tensor(4.0 * new_size / 64))
    assert torch.allclose(rescaled[1], torch.tensor(-2.0 * new_size / 64))


def test_x_and_y_are_scaled_by_their_own_sides():
    rescaled = rescale_flow(torch.full((2, 1, 32, 64), 4.0), 16)
    assert torch.allclose(rescaled[:, 0, 5, 5], torch.tensor([1.0, 2.0]))
