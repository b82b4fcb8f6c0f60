import torch

from asd_experiments.models.fusion.early_concat import EarlyConcat
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes
from tests.models.tiny import tiny_clips, tiny_two_stream


def test_two_features_by_hand():
    fusion = EarlyConcat(networks=shapes(joint=2), num_classes=2)
    set_weights(fusion.classifier, [[1.0, 2.0], [-1.0, 0.5]], [0.5, 0.0])
    scores = fusion({"joint": torch.tensor([[10.0, 20.0]])})
    torch.testing.assert_close(scores.fused, torch.tensor([[50.5, 0.0]]))


def test_the_one_network_sees_pictures_before_flow():
    model, clips = tiny_two_stream("early_concat").eval(), tiny_clips(2)
    five = torch.cat([clips["appearance"], clips["motion"]], dim=1)
    assert five.shape[1] == 5
    with torch.no_grad():
        features = model.backbones["joint"](five)
        expected = model.fusion.classifier(features)
        torch.testing.assert_close(model(**clips).fused, expected)
