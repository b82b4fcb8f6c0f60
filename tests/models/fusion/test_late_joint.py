import torch

from asd_experiments.models.fusion.late_joint import LateJoint
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes


def test_two_and_one_features_by_hand():
    fusion = LateJoint(networks=shapes(appearance=2, motion=1), num_classes=2)
    set_weights(fusion.appearance, [[1.0, 2.0], [-1.0, 0.0]], [0.5, -1.0])
    set_weights(fusion.motion, [[3.0], [5.0]], [0.0, -1.0])
    scores = fusion({"appearance": torch.tensor([[10.0, 20.0]]), "motion": torch.tensor([[100.0]])})
    # 10 + 40 + 0.5 and -10 - 1; 300 and 500 - 1
    torch.testing.assert_close(scores.appearance, torch.tensor([[50.5, -11.0]]))
    torch.testing.assert_close(scores.motion, torch.tensor([[300.0, 499.0]]))
    torch.testing.assert_close(scores.fused, torch.tensor([[350.5, 488.0]]))
    assert len(fusion.trained(scores)) == 1


def test_it_is_one_linear_layer_on_the_concatenated_features():
    fusion = LateJoint(networks=shapes(appearance=4, motion=3), num_classes=3)
    features = {"appearance": torch.randn(2, 4), "motion": torch.randn(2, 3)}
    weight = torch.cat([fusion.appearance.weight, fusion.motion.weight], dim=1)
    whole = torch.cat([features["appearance"], features["motion"]], dim=1) @ weight.T
    torch.testing.assert_close(fusion(features).fused, whole)
