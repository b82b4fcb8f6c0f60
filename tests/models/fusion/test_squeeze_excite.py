import math

import torch

from asd_experiments.models.fusion import MapShape, NetworkShape
from asd_experiments.models.fusion.squeeze_excite import SqueezeExcite, Transfer
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes


def test_one_channel_of_each_by_hand():
    transfer = Transfer(1, 1)
    set_weights(transfer.squeeze, [[1.0, 2.0]], [-1.0])
    set_weights(transfer.excite_appearance, [[math.log(3)]])
    set_weights(transfer.excite_motion, [[-math.log(3) / 2]])
    appearance = torch.tensor([0.0, 2.0]).reshape(1, 1, 1, 1, 2)
    motion = torch.tensor([0.5, 0.5, 0.5]).reshape(1, 1, 3, 1, 1)
    # Averages 1 and .5, joint 1 + 1 - 1 = 1: factors 2 * 3/4 and 2 / (1 + sqrt(3))
    scaled, scaled_motion = transfer(appearance, motion)
    torch.testing.assert_close(scaled.flatten(), torch.tensor([0.0, 3.0]))
    torch.testing.assert_close(scaled_motion.flatten(), torch.full((3,), 1 / (1 + math.sqrt(3))))


def test_factors_start_near_one():
    torch.manual_seed(0)
    maps = torch.ones(2, 8, 2, 2, 2), torch.ones(2, 8, 1, 1, 1)
    for before, after in zip(maps, Transfer(8, 8)(*maps), strict=True):
        assert (before - after).abs().max() < 0.05


def test_the_answer_is_the_sum_of_both_networks_by_hand():
    fusion = SqueezeExcite(networks=shapes(appearance=1, motion=1), num_classes=2)
    set_weights(fusion.appearance, [[1.0], [0.0]], [0.5, 0.0])
    set_weights(fusion.motion, [[3.0], [2.0]])
    scores = fusion({"appearance": torch.tensor([[10.0]]), "motion": torch.tensor([[100.0]])})
    torch.testing.assert_close(scores.fused, torch.tensor([[310.5, 200.0]]))


def test_networks_may_differ_in_every_size():
    networks = {
        "appearance": NetworkShape("slow", 1, (MapShape(3, 8, 4, 4),) * 5, per_frame=False),
        "motion": NetworkShape("fast", 1, (MapShape(5, 2, 7, 7),) * 5, per_frame=True),
    }
    fusion = SqueezeExcite(networks=networks, num_classes=2)
    assert fusion.mixed_stages == (2, 3, 4)
    maps = {"appearance": torch.randn(2, 3, 8, 4, 4), "motion": torch.randn(2, 5, 2, 7, 7)}
    assert fusion.mix(3, maps)["motion"].shape == (2, 5, 2, 7, 7)
    joint = (3 + 5) // 4
    number = sum(p.numel() for p in fusion.transfers["2"].parameters())
    assert number == (3 + 5 + 1) * joint + (joint + 1) * (3 + 5)
