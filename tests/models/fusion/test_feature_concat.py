import torch

from asd_experiments.models.fusion.feature_concat import FeatureConcat
from tests.models.fusion.shapes import shapes


def test_two_and_one_features_by_hand():
    fusion = FeatureConcat(networks=shapes(appearance=2, motion=1), num_classes=2)
    with torch.no_grad():
        fusion.classifier.weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.0, 5.0]]))
        fusion.classifier.bias.copy_(torch.tensor([0.5, -2.0]))
    scores = fusion({"appearance": torch.tensor([[10.0, 20.0]]), "motion": torch.tensor([[100.0]])})
    # 10 + 40 + 0.25 and -10 - 1; 300 + 0.25 and 500 - 1
    torch.testing.assert_close(scores.appearance, torch.tensor([[50.25, -11.0]]))
    torch.testing.assert_close(scores.motion, torch.tensor([[300.25, 499.0]]))
    torch.testing.assert_close(scores.fused, torch.tensor([[350.5, 488.0]]))


def test_fused_is_the_linear_layer_on_concatenated_features():
    torch.manual_seed(0)
    fusion = FeatureConcat(networks=shapes(appearance=4, motion=3), num_classes=3)
    features = {"appearance": torch.randn(2, 4), "motion": torch.randn(2, 3)}
    whole = fusion.classifier(torch.cat([features["appearance"], features["motion"]], dim=1))
    torch.testing.assert_close(fusion(features).fused, whole)
