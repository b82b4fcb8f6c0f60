import math

import torch

from asd_experiments.models.fusion.late_average import LateAverage
from asd_experiments.models.fusion.late_fusion import average_probabilities
from tests.models.fusion.shapes import shapes


def test_probabilities_of_both_streams_are_averaged():
    # Odds 3:1 and 1:9 are probabilities .75/.25 and .1/.9: on average .425/.575.
    first = torch.tensor([[math.log(3), 0.0]])
    second = torch.tensor([[0.0, math.log(9)]])
    fused = average_probabilities(first, second)
    torch.testing.assert_close(fused.softmax(dim=1), torch.tensor([[0.425, 0.575]]))
    torch.testing.assert_close(fused.exp(), torch.tensor([[0.425, 0.575]]))


def test_averaging_probabilities_is_not_averaging_logits():
    first, second = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    averaged_logits = ((first + second) / 2).softmax(dim=1)
    fused = average_probabilities(first, second).softmax(dim=1)
    assert (averaged_logits - fused).abs().max() > 0.1


def test_extreme_logits_stay_finite():
    first = torch.tensor([[1e4, -1e4]], requires_grad=True)
    second = torch.tensor([[-1e4, 1e4]], requires_grad=True)
    fused = average_probabilities(first, second)
    fused[0, 0].backward()
    torch.testing.assert_close(fused.exp(), torch.tensor([[0.5, 0.5]]))
    assert first.grad.isfinite().all()
    assert second.grad.isfinite().all()


def test_two_features_by_hand():
    fusion = LateAverage(networks=shapes(appearance=1, motion=1), num_classes=2)
    with torch.no_grad():
        fusion.appearance.weight.copy_(torch.tensor([[1.0], [0.0]]))
        fusion.motion.weight.copy_(torch.tensor([[0.0], [2.0]]))
    scores = fusion(
        {"appearance": torch.tensor([[math.log(3)]]), "motion": torch.tensor([[math.log(3)]])}
    )
    torch.testing.assert_close(scores.appearance, torch.tensor([[math.log(3), 0.0]]))
    torch.testing.assert_close(scores.motion, torch.tensor([[0.0, math.log(9)]]))
    torch.testing.assert_close(scores.fused.exp(), torch.tensor([[0.425, 0.575]]))
