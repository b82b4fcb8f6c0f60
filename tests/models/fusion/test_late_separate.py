import math

import torch
from torch.nn.functional import cross_entropy

from asd_experiments.models.fusion.late_separate import LateSeparate
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes

FEATURES = {"appearance": torch.tensor([[math.log(3)]]), "motion": torch.tensor([[math.log(3)]])}


def made():
    fusion = LateSeparate(networks=shapes(appearance=1, motion=1), num_classes=2)
    set_weights(fusion.appearance, [[1.0], [0.0]])
    set_weights(fusion.motion, [[0.0], [2.0]])
    return fusion


def test_losses_of_both_streams_and_the_averaged_answer_by_hand():
    fusion = made()
    scores = fusion(FEATURES)
    # Probabilities .75/.25 and .1/.9
    torch.testing.assert_close(scores.fused.exp(), torch.tensor([[0.425, 0.575]]))
    losses = [cross_entropy(own, torch.tensor([0])) for own in fusion.trained(scores)]
    torch.testing.assert_close(torch.stack(losses), torch.tensor([0.75, 0.1]).log().neg())


def test_a_stream_learns_the_same_whatever_the_other_says():
    gradients = []
    for other in (0.0, 5.0):
        fusion = made()
        scores = fusion(FEATURES | {"motion": torch.tensor([[other]])})
        sum(cross_entropy(own, torch.tensor([0])) for own in fusion.trained(scores)).backward()
        gradients.append(fusion.appearance.weight.grad)
    assert torch.equal(*gradients)
