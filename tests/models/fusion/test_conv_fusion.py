import pytest
import torch

from asd_experiments.models.fusion import MapShape, NetworkShape
from asd_experiments.models.fusion.conv_fusion import ConvFusion
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes


def test_one_channel_by_hand():
    fusion = ConvFusion(networks=shapes(channels=1, appearance=1, motion=1), num_classes=2)
    set_weights(fusion.conv, [[2.0, -1.0]], [0.5])
    appearance = torch.arange(8.0).reshape(1, 1, 2, 2, 2)
    motion = torch.full((1, 1, 2, 2, 2), 4.0)
    mixed = fusion.mix(4, {"appearance": appearance, "motion": motion})
    # 2 a - 4 + .5, never below 0
    by_hand = torch.tensor([0.0, 0.0, 0.5, 2.5, 4.5, 6.5, 8.5, 10.5]).reshape(1, 1, 2, 2, 2)
    torch.testing.assert_close(mixed["appearance"], by_hand)
    assert torch.equal(mixed["motion"], motion)


def test_the_answer_is_the_joint_network_s_and_both_are_trained():
    fusion = ConvFusion(networks=shapes(channels=1, appearance=1, motion=1), num_classes=2)
    set_weights(fusion.joint, [[1.0], [2.0]])
    set_weights(fusion.motion, [[3.0], [4.0]])
    scores = fusion({"appearance": torch.tensor([[10.0]]), "motion": torch.tensor([[100.0]])})
    torch.testing.assert_close(scores.fused, torch.tensor([[10.0, 20.0]]))
    torch.testing.assert_close(scores.motion, torch.tensor([[300.0, 400.0]]))
    assert fusion.trained(scores) == (scores.fused, scores.motion)


def test_the_start_keeps_equally_numbered_channels_in_the_sum():
    """On average over random starts the convolution is the sum of the two streams' channels."""
    torch.manual_seed(0)
    networks = shapes(channels=2, appearance=1, motion=1)
    weights = [ConvFusion(networks=networks, num_classes=2).conv.weight for _ in range(2000)]
    mean = torch.stack(weights).mean(dim=0).flatten(1).detach()
    expected = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    assert (mean - expected).abs().max() < 0.1


def test_other_grids_are_refused_with_both():
    networks = {
        "appearance": NetworkShape("slow", 1, (MapShape(3, 8, 4, 4),) * 5, per_frame=False),
        "motion": NetworkShape("fast", 1, (MapShape(5, 2, 7, 7),) * 5, per_frame=False),
    }
    with pytest.raises(
        ValueError,
        match=r"conv_fusion needs maps of the same .* after stage 5 slow has 8x4x4 \(appearance\) "
        r"and fast 2x7x7 \(motion\); give both streams the same backbone, or choose squeeze_excite",
    ):
        ConvFusion(networks=networks, num_classes=2)


def test_channels_may_differ():
    networks = {
        "appearance": NetworkShape("wide", 1, (MapShape(3, 2, 2, 2),) * 5, per_frame=False),
        "motion": NetworkShape("narrow", 1, (MapShape(2, 2, 2, 2),) * 5, per_frame=False),
    }
    fusion = ConvFusion(networks=networks, num_classes=2)
    assert sum(p.numel() for p in fusion.conv.parameters()) == 3 * (3 + 2) + 3
