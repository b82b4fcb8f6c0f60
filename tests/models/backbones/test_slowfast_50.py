import pytest
import torch
from torch import nn

from asd_experiments.models.backbones.slowfast_50 import SlowFast


def build(clip_length=8, size=32, width=0.125):
    torch.manual_seed(0)
    return SlowFast(in_channels=3, clip_length=clip_length, size=size, width=width, dropout=0.5)


def test_same_weights_same_features_as_slowfast_r50():
    # Imported here: pytorchvideo may only be imported after this project has (it warns).
    from pytorchvideo.models.hub import slowfast_r50

    torch.manual_seed(0)
    published = slowfast_r50(head_pool_kernel_sizes=((2, 2, 2), (8, 2, 2)))
    clips = torch.randn(2, 3, 8, 64, 64)
    # A pass in training mode moves the running statistics off 0 and 1.
    published.train()([clips[:, :, ::4], clips])
    published.eval().blocks[6].proj = nn.Identity()
    own = build(size=64, width=1.0).eval()
    own.network.load_state_dict(published.state_dict())

    with torch.no_grad():
        torch.testing.assert_close(own(clips), published([clips[:, :, ::4], clips]))


@pytest.mark.parametrize(("clip_length", "slow_frames"), [(4, 1), (8, 2), (10, 3), (32, 8)])
def test_slow_pathway_sees_every_fourth_frame(clip_length, slow_frames):
    network = build(clip_length).eval()
    seen = []
    network.network.blocks[0].multipathway_blocks[0].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    clips = torch.randn(1, 3, clip_length, 32, 32)
    with torch.no_grad():
        network(clips)
    assert seen[0].shape[2] == slow_frames
    assert torch.equal(seen[0], clips[:, :, [4 * k for k in range(slow_frames)]])


@pytest.mark.parametrize("width", [0.125, 0.2, 0.3, 0.5, 1.0])
def test_fast_pathway_has_an_eighth_of_the_channels(width):
    with torch.device("meta"):
        slow, fast = build(width=width).network.blocks[0].multipathway_blocks
    assert slow.conv.out_channels == 8 * fast.conv.out_channels


def test_one_clip_with_a_1x1x1_map_trains_only_in_company():
    network = build(clip_length=4, size=32).train()
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        network(torch.randn(1, 3, 4, 32, 32))
    assert network(torch.randn(2, 3, 4, 32, 32)).isfinite().all()
