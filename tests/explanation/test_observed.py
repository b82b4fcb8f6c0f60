"""Every backbone can be observed and explained."""

import pytest
import torch

from asd_experiments.explanation.observed import ObservedBackbone, ObservedNetwork, log_odds
from asd_experiments.explanation.saliency import explain_clip
from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.two_stream import build_two_stream
from tests.models.backbones.builders import build, random_clips, small_clip, stage_maps

every = pytest.mark.parametrize("name", list(BACKBONES))


@every
def test_an_observed_backbone_says_the_same_and_shows_its_last_maps(name):
    backbone = build(name).eval()
    observed, shown = ObservedBackbone(backbone).eval(), []
    observed.last_maps.register_forward_hook(lambda *seen: shown.append(seen[-1]))
    clips = random_clips(2, name)
    with torch.no_grad():
        assert torch.equal(observed(clips), backbone(clips))
        assert torch.equal(shown[0], stage_maps(backbone, clips)[-1])
    assert len(shown) == 1


@every
def test_every_backbone_has_both_kinds_of_maps(name):
    frames, size = small_clip(name)
    torch.manual_seed(0)
    network = build_two_stream(
        backbone=name,
        fusion="appearance_only",
        num_classes=2,
        clip_length=frames,
        size=size,
        width=0.125,
        dropout=0.5,
    ).eval()
    clip = {"appearance": random_clips(1, name)[0], "motion": torch.zeros(2, frames, size, size)}
    both = [explain_clip(network, clip, target, steps=8, batch_size=4) for target in (0, 1)]
    for saliency in both:
        assert saliency.maps.keys() == {
            ("appearance", "grad_cam"),
            ("appearance", "integrated_gradients"),
        }
        assert all(m.shape == (frames, size, size) for m in saliency.maps.values())
        assert saliency.integrated_gradients["appearance"].isfinite().all()
        assert saliency.integrated_gradients["appearance"].any()
        assert saliency.grids["appearance"][2] >= 2  # a map, not a single place
    # What speaks for one of two classes speaks against the other.
    cams = [saliency.grad_cam["appearance"] for saliency in both]
    assert any(cam.any() for cam in cams)


def test_observing_shares_the_weights():
    network = build_two_stream(
        backbone="r3d_18",
        fusion="late_average",
        num_classes=2,
        clip_length=8,
        size=32,
        width=0.125,
        dropout=0.5,
    )
    observed = ObservedNetwork(network)
    ours = {id(parameter) for parameter in observed.parameters()}
    assert ours == {id(parameter) for parameter in network.parameters()}
    assert observed.streams == ("appearance", "motion")
    assert set(observed.last_maps) == {"appearance", "motion"}


def test_log_odds_are_those_of_the_probabilities_and_ignore_a_shift():
    scores = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0]])
    expected = torch.logit(scores.softmax(dim=1))
    torch.testing.assert_close(log_odds(scores), expected)
    torch.testing.assert_close(log_odds(scores + 7), expected)
    two = torch.tensor([[3.0, 1.0]])
    torch.testing.assert_close(log_odds(two), torch.tensor([[2.0, -2.0]]))
