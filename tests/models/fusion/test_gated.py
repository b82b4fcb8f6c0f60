import math

import torch

from asd_experiments.models.fusion.fusion import NUM_HIDDEN
from asd_experiments.models.fusion.gated import Gated
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes


def test_one_unit_by_hand():
    fusion = Gated(networks=shapes(appearance=1, motion=1), num_classes=2)
    idle = NUM_HIDDEN - 1
    set_weights(fusion.appearance, [[1.0]] + [[0.0]] * idle)
    set_weights(fusion.motion, [[1.0]] + [[0.0]] * idle)
    set_weights(fusion.gate, [[3.0, 0.5]] + [[0.0, 0.0]] * idle)
    set_weights(fusion.classifier, [[1.0] + [0.0] * idle, [-2.0] + [0.0] * idle])
    scores = fusion(
        {"appearance": torch.tensor([[math.log(3) / 2]]), "motion": torch.tensor([[-math.log(3)]])}
    )
    # tanh .5 and -.8; the gate is sigmoid(log(3) * (1.5 - .5)) = .75: .375 - .2 = .175
    torch.testing.assert_close(scores.fused, torch.tensor([[0.175, -0.35]]))


def test_number_of_parameters():
    fusion = Gated(networks=shapes(appearance=4, motion=3), num_classes=2)
    number = sum(p.numel() for p in fusion.parameters())
    assert number == (4 + 1) * 256 + (3 + 1) * 256 + (4 + 3 + 1) * 256 + (256 + 1) * 2
