"""Sizes of the networks, against the published ones and against docs/models.md."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.size import model_size
from tests.models.backbones.builders import build

# What pytorchvideo's newer figures were made with adds five operations per value of a batch norm.
FVCORE_NORM = 5

# Classes, parameters, frames, pixels, GMACs, and what of the norms was counted.
PUBLISHED = {
    # Tran et al. 2015, section 3.3, as mmaction2 gives it (Sports-1M: 487 classes).
    "c3d": (487, 79_991_015, 16, 112, 38.55, 0),
    # torchvision's metadata: num_params and _ops.
    "r2plus1d_18": (400, 31_505_325, 16, 112, 40.519, 0),
    "r3d_18": (400, 33_371_472, 16, 112, 40.697, 0),
    "mc3_18": (400, 11_695_440, 16, 112, 43.343, 0),
    "mvit_v2_s": (400, 34_537_744, 16, 224, 64.224, 0),
    # pytorchvideo's model zoo (28.11, 32.45, 34.57, 28.04 and 22.21 M), test crops of 256 px.
    "r2plus1d_50": (400, 28_107_600, 16, 256, 76.45, FVCORE_NORM),
    "slow_50": (400, 32_454_096, 8, 256, 54.52, 0),
    "slowfast_50": (400, 34_566_488, 32, 256, 65.71, 0),
    "i3d_50": (400, 28_043_472, 8, 256, 37.53, FVCORE_NORM),
    "csn_101": (400, 22_213_776, 32, 256, 75.62, FVCORE_NORM),
    # PySlowFast's model zoo (3.8 M; 1.96 and 4.73); pytorchvideo gives 3.79 M.
    "x3d_s": (400, 3_794_274, 13, 160, 1.96, 0),
    "x3d_m": (400, 3_794_274, 16, 224, 4.73, 0),
    # torchvision's metadata: 4.089 per frame, of which 2.048 M are the classifier's.
    "resnet2d_50": (1000, 25_557_032, 16, 224, 16 * (4.089 - 0.002048), 0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    num_classes, parameters, frames, side, gmacs, per_norm = PUBLISHED[name]
    with torch.device("meta"):
        backbone = build(name, clip_length=frames, size=side, width=1.0)
        model = nn.Sequential(backbone, nn.Linear(backbone.num_features, num_classes)).eval()
    size = model_size(model, (3, frames, side, side))
    assert size.parameters == parameters
    norms = per_norm * normed_values(model, (1, 3, frames, side, side)) / 1e9
    assert size.gmacs + norms == pytest.approx(gmacs, rel=2e-3)


def normed_values(model, shape):
    """Values that pass through batch norms."""
    counts = []
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.register_forward_hook(lambda _, __, output: counts.append(output.numel()))
    with torch.device("meta"), torch.no_grad():
        model(torch.empty(shape))
    return sum(counts)


def test_a_network_by_hand_is_left_as_it_was():
    network = nn.Sequential(
        nn.Conv3d(4, 6, kernel_size=3, padding=1, groups=2),
        nn.BatchNorm3d(6),
        nn.Flatten(),
        nn.Linear(6 * 8, 5, bias=False),
    ).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    size = model_size(network, (4, 2, 2, 2))
    assert size.parameters == (6 * 2 * 27 + 6) + 2 * 6 + 48 * 5
    assert size.gmacs == pytest.approx((8 * 6 * 2 * 27 + 48 * 5) / 1e9)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert all(layer.training for layer in network.modules())


ROW = re.compile(r"\| `(\w+)` \| (\d+) x (\d+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|")


def test_the_table_of_the_docs_is_what_the_code_counts():
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    rows = {row[1]: row.groups()[1:] for row in ROW.finditer(text)}
    assert list(rows) == list(BACKBONES)
    for name, row in rows.items():
        assert row == documented(name), name


def documented(name):
    frames, side = BACKBONES[name].canonical_clip
    with torch.device("meta"):
        backbone = build(name, clip_length=frames, size=side, width=1.0)
    parameters, gmacs = model_size(backbone, (3, frames, side, side))
    return (
        *(str(frames), str(side), f"{parameters / 1e6:.2f}", f"{gmacs:.2f}"),
        str(backbone.num_features),
    )
