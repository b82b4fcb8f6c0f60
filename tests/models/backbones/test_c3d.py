import pytest
import torch
from torch import nn

from asd_experiments.models.backbones.c3d import C3D


def build(clip_length=16, size=112, width=1.0, device="meta"):
    with torch.device(device):
        return C3D(in_channels=3, clip_length=clip_length, size=size, width=width, dropout=0.5)


def test_layers_of_the_paper():
    layers = build().convolutions
    convolutions = {k: v.out_channels for k, v in layers.named_children() if "conv" in k}
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
    pools = [v.kernel_size for k, v in layers.named_children() if "pool" in k]
    assert pools == [(1, 2, 2)] + 4 * [(2, 2, 2)]
    assert [k for k, _ in layers.named_children()][:5] == [
        "conv1a",
        "relu1a",
        "pool1",
        "conv2a",
        "relu2a",
    ]


@pytest.mark.parametrize(
    ("clip_length", "size", "inputs"),
    [
        (16, 112, 512 * 1 * 4 * 4),
        (32, 112, 512 * 2 * 4 * 4),
        (64, 112, 512 * 4 * 4 * 4),
        (8, 112, 512 * 1 * 4 * 4),
        (4, 112, 512 * 1 * 4 * 4),
        (16, 64, 512 * 3 * 3),
        (16, 224, 512 * 8 * 8),
        (16, 16, 512),
    ],
)
def test_fc6_fits_the_clip(clip_length, size, inputs):
    assert build(clip_length, size).fc6.in_features == inputs


def test_eight_frames_pool_time_three_times():
    pools = [m for m in build(clip_length=8).convolutions if isinstance(m, nn.MaxPool3d)]
    assert [pool.kernel_size[0] for pool in pools] == [1, 2, 2, 2, 1]


def test_he_start_keeps_the_size_of_the_signal():
    torch.manual_seed(0)
    network = build(clip_length=16, size=32, width=0.25, device="cpu").eval()
    clips = torch.randn(2, 3, 16, 32, 32)
    with torch.no_grad():
        features = network(clips)
    assert 0.1 < features.square().mean().sqrt() < 10
