import pytest
import torch
from torch import nn

from asd_experiments.models.backbones.c3d import C3D
from asd_experiments.models.backbones.c3d_gap import C3DGap


def build(network=C3D, clip_length=16, size=112, width=1.0, device="meta"):
    with torch.device(device):
        return network(in_channels=3, clip_length=clip_length, size=size, width=width, dropout=0.5)


def test_layers_of_the_paper():
    network = build()
    layers = dict(network.convolutions.named_children())
    convolutions = {k: v.out_channels for k, v in layers.items() if "conv" in k}
    assert convolutions == {
        "conv1a": 64,
        "conv2a": 128,
        "conv3a": 256,
        "conv3b": 256,
        "conv4a": 512,
        "conv4b": 512,
        "conv5a": 512,
        "conv5b": 512,
    }
    pools = [v.kernel_size for k, v in layers.items() if "pool" in k]
    assert pools == [(1, 2, 2)] + 3 * [(2, 2, 2)] and network.pool5.kernel_size == 2
    assert list(layers)[:5] == ["conv1a", "relu1a", "pool1", "conv2a", "relu2a"]
    assert network.fc6.in_features == 8192
    assert network.fc6.out_features == network.fc7.out_features == 4096


@pytest.mark.parametrize(("clip_length", "size"), [(3, 112), (8, 112), (32, 112), (16, 64)])
def test_only_the_published_clip_is_taken(clip_length, size):
    message = f"size of c3d must be 16 and 112 .* got {clip_length} and {size}; choose c3d_gap for"
    with pytest.raises(ValueError, match=message):
        build(C3D, clip_length, size)


@pytest.mark.parametrize(
    ("clip_length", "frames"),
    [(4, [4, 4, 2, 1, 1]), (8, [8, 8, 4, 2, 1]), (64, [64, 64, 32, 16, 8])],
)
def test_time_is_halved_while_there_is_any(clip_length, frames):
    network = build(C3DGap, clip_length, 64)
    state, lengths = torch.empty(1, 3, clip_length, 64, 64, device="meta"), []
    for stage in network.stages:
        state = stage(state)
        lengths.append(state.shape[2])
    assert lengths == frames


def test_the_features_of_c3d_gap_are_the_mean_of_conv5b():
    network = build(C3DGap, 8, 64, width=0.125, device="cpu").eval()
    clips = torch.randn(1, 3, 8, 64, 64)
    with torch.no_grad():
        expected = nn.Sequential(*network.convolutions)(clips).mean(dim=(2, 3, 4))
        torch.testing.assert_close(network(clips), expected)


def test_he_start_keeps_the_size_of_the_signal():
    torch.manual_seed(0)
    network = build(width=0.125, device="cpu").eval()
    with torch.no_grad():
        features = network(torch.randn(1, 3, 16, 112, 112))
    assert 0.1 < features.square().mean().sqrt() < 10
