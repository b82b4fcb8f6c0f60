import math

import torch

from asd_experiments.models.fusion.late_max import LateMax
from tests.models.fusion.shapes import shapes


def fusion():
    return LateMax(networks=shapes(appearance=1, motion=1), num_classes=2)


def test_the_larger_probabilities_scaled_to_one():
    # .75/.25 and .1/.9: .75 and .9, of 1.65
    fused = fusion().combine(torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.0, math.log(9)]]))
    torch.testing.assert_close(fused.softmax(dim=1), torch.tensor([[0.75 / 1.65, 0.9 / 1.65]]))


def test_with_two_classes_it_decides_as_the_average():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(200, 2, generator=generator) for _ in range(2))
    average = (first.softmax(dim=1) + second.softmax(dim=1)) / 2
    assert torch.equal(fusion().combine(first, second).argmax(dim=1), average.argmax(dim=1))
