"""What every fusion in the table must do."""

from typing import get_args

import pytest
import torch
from torch.nn.functional import cross_entropy

from asd_experiments.config import FusionName
from asd_experiments.models.fusion import FUSIONS, build_fusion
from tests.models.fusion.shapes import shapes

NUM_FEATURES = {"appearance": 5, "motion": 4}


@pytest.fixture(params=list(FUSIONS))
def name(request):
    return request.param


def build(name, num_classes=3):
    torch.manual_seed(0)
    return build_fusion(name, networks=shapes(**NUM_FEATURES), num_classes=num_classes)


def random_features(number=2):
    generator = torch.Generator().manual_seed(1)
    return {
        stream: torch.randn(number, size, generator=generator, requires_grad=True)
        for stream, size in NUM_FEATURES.items()
    }


def test_table_has_every_configured_name():
    assert set(FUSIONS) == set(get_args(FusionName))


def test_unknown_name_lists_the_choices():
    with pytest.raises(
        ValueError,
        match="unknown fusion 'gatd'; choose one of: "
        "appearance_only, motion_only, late_average, feature_concat",
    ):
        build("gatd")


def test_one_class_is_refused(name):
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        build(name, num_classes=1)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_scores_of_the_streams_it_has_and_no_other(name, num_classes):
    fusion = build(name, num_classes)
    scores = fusion(random_features())
    assert scores.fused.shape == (2, num_classes)
    for stream in NUM_FEATURES:
        score = getattr(scores, stream)
        assert (score is not None) == (stream in fusion.streams)
        assert score is None or score.shape == (2, num_classes)


def test_starts_undecided(name):
    scores = build(name)(random_features())
    assert scores.fused.softmax(dim=1).sub(1 / 3).abs().max() < 0.05


def test_features_of_an_unused_stream_need_not_exist(name):
    fusion = build(name)
    features = {stream: random_features()[stream] for stream in fusion.streams}
    assert torch.equal(fusion(features).fused, fusion(random_features()).fused)


def test_gradient_reaches_every_parameter_and_stream(name):
    fusion, features = build(name), random_features()
    cross_entropy(fusion(features).fused, torch.tensor([0, 2])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in fusion.parameters())
    for stream, feature in features.items():
        assert (feature.grad is not None) == (stream in fusion.streams)
        assert feature.grad is None or (feature.grad.abs().sum(dim=1) > 0).all()


def test_training_the_fused_scores_trains_every_stream_alone(name):
    """Each stream tells the classes apart by its first feature, so each can learn alone."""
    fusion, labels = build(name, num_classes=2), torch.tensor([0, 1, 0, 1])
    features = {s: torch.zeros(4, n) for s, n in NUM_FEATURES.items()}
    for feature in features.values():
        feature[:, 0] = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    optimiser = torch.optim.SGD(fusion.parameters(), lr=1.0)
    for _ in range(50):
        optimiser.zero_grad()
        cross_entropy(fusion(features).fused, labels).backward()
        optimiser.step()
    scores = fusion(features)
    for stream in fusion.streams:
        assert cross_entropy(getattr(scores, stream), labels) < 0.2


@pytest.mark.parametrize("stream", ["appearance", "motion"])
def test_single_stream_is_its_linear_classifier(stream):
    fusion, features = build(f"{stream}_only"), random_features()
    scores = fusion(features)
    by_hand = features[stream] @ fusion.classifier.weight.T + fusion.classifier.bias
    torch.testing.assert_close(scores.fused, by_hand)
    torch.testing.assert_close(getattr(scores, stream), by_hand)
