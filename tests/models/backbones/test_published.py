"""With the same weights, the same scores as the libraries' own networks, bit for bit."""

from importlib import import_module

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import resnet50
from torchvision.models.video import mc3_18, mvit_v2_s, r2plus1d_18, r3d_18

from tests.models.backbones.builders import build, random_clips

TORCHVISION = {"r2plus1d_18": r2plus1d_18, "r3d_18": r3d_18, "mc3_18": mc3_18}
PYTORCHVIDEO = {
    "r2plus1d_50": "r2plus1d_r50",
    "slow_50": "slow_r50",
    "slowfast_50": "slowfast_r50",
    "x3d_s": "x3d_s",
    "x3d_m": "x3d_m",
    "i3d_50": "i3d_r50",
    "csn_101": "csn_r101",
}


def with_random_weights(network):
    """Batch norms, too, which start as nothing or as zero, are moved somewhere."""
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return network.eval()


def own_scores(name, weights, classifier, clips):
    """Scores of the backbone with the library's weights and classifier."""
    with torch.device("meta"):
        backbone = build(name, width=1.0, clip_length=clips.shape[2], size=clips.shape[3])
    backbone.load_state_dict(weights, assign=True)
    with torch.no_grad():
        return classifier(backbone.eval()(clips))


def from_hub(name):
    # In this order: the first keeps the second's import from warning.
    import_module("asd_experiments.models.backbones.pytorchvideo_builders")
    hub = import_module("pytorchvideo.models.hub")
    network = with_random_weights(getattr(hub, PYTORCHVIDEO[name])())
    network.blocks[-1].activation = None  # a softmax of some
    return network


def headless(network, prefix):
    state = network.state_dict()
    last = len(network.blocks) - 1 if hasattr(network, "blocks") else None
    classifier = f"blocks.{last}.proj."
    return {f"{prefix}{k}": v for k, v in state.items() if not k.startswith(classifier)}


@pytest.mark.parametrize("name", TORCHVISION)
def test_video_resnets_of_torchvision(name):
    torch.manual_seed(0)
    published = with_random_weights(TORCHVISION[name](weights=None))
    weights = {k: v for k, v in published.state_dict().items() if not k.startswith("fc.")}
    clips = random_clips(2)
    with torch.no_grad():
        expected = published(clips)
    assert torch.equal(own_scores(name, weights, published.fc, clips), expected)


@pytest.mark.parametrize("name", PYTORCHVIDEO)
def test_networks_of_pytorchvideo(name):
    torch.manual_seed(0)
    published = from_hub(name)
    for owner in list(published.modules()):
        for key, layer in owner.named_children():
            if isinstance(layer, nn.AvgPool3d):  # fits the canonical clip alone
                setattr(owner, key, nn.AdaptiveAvgPool3d(1))
    clips = random_clips(2)
    with torch.no_grad():
        expected = published(pathways(name, clips))
    classifier = published.blocks[-1].proj
    assert torch.equal(
        own_scores(name, headless(published, "network."), classifier, clips), expected
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", PYTORCHVIDEO)
def test_networks_of_pytorchvideo_with_their_own_pools(name):
    torch.manual_seed(0)
    published = from_hub(name)
    frames, side = {"x3d_s": (13, 160), "slowfast_50": (32, 224), "csn_101": (32, 224)}.get(
        name, (8 if name == "slow_50" else 16, 224)
    )
    if name == "i3d_50":
        frames = 8
    clips = random_clips(1, clip_length=frames, size=side)
    with torch.no_grad():
        expected = published(pathways(name, clips))
    scores = own_scores(name, headless(published, "network."), published.blocks[-1].proj, clips)
    # The libraries sum in another order: rounding is relative to the scores' size.
    assert (scores - expected).norm() < 1e-4 * expected.norm()
    assert not torch.allclose(expected, expected.mean())


def pathways(name, clips):
    return [clips[:, :, ::4], clips] if name == "slowfast_50" else clips


def test_mvit_of_torchvision():
    torch.manual_seed(0)
    published = mvit_v2_s(weights=None).eval()
    weights = {k: v for k, v in published.state_dict().items() if not k.startswith("head.")}
    places = published.pos_encoding  # knows the canonical clip alone
    places.temporal_size, places.spatial_size = 4, (16, 16)
    clips = random_clips(2)
    with torch.no_grad():
        expected = published(clips)
    weights = {f"network.{k}": v for k, v in weights.items()}
    assert torch.equal(own_scores("mvit_v2_s", weights, published.head, clips), expected)


def test_frames_through_resnet_of_torchvision():
    torch.manual_seed(0)
    published = with_random_weights(resnet50(weights=None))
    classifier, published.fc = published.fc, nn.Identity()
    weights = {f"network.{k}": v for k, v in published.state_dict().items()}
    clips = random_clips(2)
    with torch.no_grad():
        frames = published(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 8))
        scores = own_scores("resnet2d_50", weights, classifier, clips)
        assert torch.equal(scores, classifier(frames.mean(dim=1)))
        torch.testing.assert_close(scores, classifier(frames).mean(dim=1), rtol=1e-4, atol=1e-4)


def test_starts_as_the_published_networks():
    torch.manual_seed(2)
    own, published = build("r2plus1d_18", width=1.0), r2plus1d_18(weights=None)
    for name in ("stem.0", "layer2.0.conv1.0.0", "layer4.0.downsample.0"):
        mine, theirs = own.get_submodule(name).weight, published.get_submodule(name).weight
        torch.testing.assert_close(mine.std(), theirs.std(), rtol=0.05, atol=0)
    own, published = build("resnet2d_50", width=1.0).network, resnet50(weights=None)
    for name in ("conv1", "layer2.0.conv2", "layer4.0.downsample.0"):
        mine, theirs = own.get_submodule(name).weight, published.get_submodule(name).weight
        torch.testing.assert_close(mine.std(), theirs.std(), rtol=0.05, atol=0)
