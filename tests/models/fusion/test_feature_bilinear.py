import math

import torch

from asd_experiments.models.fusion.feature_bilinear import NUM_FACTORS, FeatureBilinear
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes

SIDE = NUM_FACTORS + 1


def made():
    """The first factor of each stream is the tanh of its only feature; the others are zero."""
    fusion = FeatureBilinear(networks=shapes(appearance=1, motion=1), num_classes=2)
    for projection in (fusion.appearance, fusion.motion):
        set_weights(projection, [[1.0]] + [[0.0]] * (NUM_FACTORS - 1))
    return fusion


def test_product_and_both_factors_by_hand():
    fusion = made()
    weights = torch.zeros(2, SIDE, SIDE)
    weights[0, 0, 0] = 1.0  # the product
    weights[1, 0, -1], weights[1, -1, 0], weights[1, -1, -1] = 10.0, 100.0, 1000.0
    set_weights(fusion.classifier, weights.flatten(1).tolist())
    # tanh(log(3) / 2) = .5 and tanh(-log(9) / 2) = -.8
    scores = fusion(
        {"appearance": torch.tensor([[math.log(3) / 2]]), "motion": torch.tensor([[-math.log(3)]])}
    )
    torch.testing.assert_close(scores.fused, torch.tensor([[-0.4, 5.0 - 80.0 + 1000.0]]))


def test_number_of_parameters():
    fusion = FeatureBilinear(networks=shapes(appearance=4, motion=3), num_classes=2)
    number = sum(p.numel() for p in fusion.parameters())
    assert number == (4 + 1) * 16 + (3 + 1) * 16 + (17 * 17 + 1) * 2
