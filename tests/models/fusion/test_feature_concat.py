import torch

from asd_experiments.models.fusion.feature_concat import FeatureConcat
from asd_experiments.models.fusion.fusion import NUM_HIDDEN
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes


def test_two_hidden_units_by_hand():
    fusion = FeatureConcat(networks=shapes(appearance=2, motion=1), num_classes=2)
    hidden, _, last = fusion.classifier
    idle = NUM_HIDDEN - 2
    set_weights(hidden, [[1.0, 2.0, 3.0], [1.0, 0.0, -1.0]] + [[0.0] * 3] * idle)
    set_weights(last, [[1.0, 7.0] + [0.0] * idle, [-1.0, 0.0] + [0.0] * idle], [0.5, 0.0])
    scores = fusion({"appearance": torch.tensor([[10.0, 20.0]]), "motion": torch.tensor([[100.0]])})
    # Units: 10 + 40 + 300 = 350, and 10 - 100 which the ReLU makes 0
    torch.testing.assert_close(scores.fused, torch.tensor([[350.5, -350.0]]))


def test_number_of_parameters():
    fusion = FeatureConcat(networks=shapes(appearance=4, motion=3), num_classes=2)
    assert sum(p.numel() for p in fusion.parameters()) == (4 + 3 + 1) * 256 + (256 + 1) * 2
