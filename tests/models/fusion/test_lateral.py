import pytest
import torch

from asd_experiments.models.fusion import MapShape, NetworkShape
from asd_experiments.models.fusion.lateral import Lateral
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes


def made(channels=1, grid=(6, 1, 1)):
    networks = shapes(channels=channels, grid=grid, appearance=1, motion=1)
    return Lateral(networks=networks, num_classes=2)


def test_an_impulse_of_motion_reaches_five_frames():
    fusion = made()
    set_weights(fusion.connections["2"], [1.0, 2.0, 3.0, 4.0, 5.0])
    motion = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0]).reshape(1, 1, 6, 1, 1)
    maps = {"appearance": torch.full((1, 1, 6, 1, 1), 10.0), "motion": motion}
    mixed = fusion.mix(2, maps)
    # A convolution in the sense of deep learning: the kernel is not turned round.
    by_hand = torch.tensor([10.0, 15.0, 14.0, 13.0, 12.0, 11.0])
    torch.testing.assert_close(mixed["appearance"].flatten(), by_hand)
    assert torch.equal(mixed["motion"], motion)


def test_head_by_hand():
    fusion = made()
    set_weights(fusion.classifier, [[1.0, 2.0], [3.0, 4.0]], [0.0, 0.5])
    scores = fusion({"appearance": torch.tensor([[10.0]]), "motion": torch.tensor([[100.0]])})
    torch.testing.assert_close(scores.fused, torch.tensor([[210.0, 430.5]]))


def test_connections_after_every_stage_but_the_last():
    fusion = made(channels=3)
    assert fusion.mixed_stages == (0, 1, 2, 3)
    assert sum(p.numel() for p in fusion.connections.parameters()) == 4 * 5 * 3 * 3


def test_a_network_of_single_frames_is_refused():
    networks = shapes(per_frame=True, appearance=1, motion=1)
    with pytest.raises(ValueError, match="imaginary looks at one frame at a time; choose a 3D"):
        Lateral(networks=networks, num_classes=2)


def test_other_grids_are_refused_but_not_after_the_last_stage():
    same, other = MapShape(3, 4, 8, 8), MapShape(3, 4, 7, 8)
    slow = NetworkShape("slow", 1, (same,) * 5, per_frame=False)
    last = NetworkShape("late", 1, (same,) * 4 + (other,), per_frame=False)
    early = NetworkShape("early", 1, (same, other, same, same, same), per_frame=False)
    Lateral(networks={"appearance": slow, "motion": last}, num_classes=2)
    with pytest.raises(ValueError, match=r"after stage 2 slow has 4x8x8 .* and early 4x7x8"):
        Lateral(networks={"appearance": slow, "motion": early}, num_classes=2)
