import pytest
import torch
from torch import nn
from torchvision.models.video import r2plus1d_18

from asd_experiments.models.backbones.r2plus1d_18 import R2Plus1D


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    network = r2plus1d_18(weights=None)
    network.train()(torch.randn(2, 3, 4, 32, 32))  # moves the running statistics off 0 and 1
    return network.eval()


@pytest.fixture(scope="module")
def own():
    return R2Plus1D(in_channels=3, clip_length=8, size=32, width=1.0, dropout=0.5).eval()


def test_weights_have_the_published_names_and_shapes(own, published):
    expected = {k: v.shape for k, v in published.state_dict().items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in own.state_dict().items()} == expected


def test_same_weights_same_features(own, published):
    weights = {k: v for k, v in published.state_dict().items() if not k.startswith("fc.")}
    own.load_state_dict(weights)
    published.fc = nn.Identity()
    clips = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(own(clips), published(clips))


def test_starts_as_the_published_network(own):
    torch.manual_seed(2)
    own = R2Plus1D(in_channels=3, clip_length=8, size=32, width=1.0, dropout=0.5)
    published = r2plus1d_18(weights=None)
    for name in ("stem.0", "layer2.0.conv1.0.0", "layer4.0.downsample.0"):
        mine, theirs = own.get_submodule(name).weight, published.get_submodule(name).weight
        torch.testing.assert_close(mine.std(), theirs.std(), rtol=0.05, atol=0)
