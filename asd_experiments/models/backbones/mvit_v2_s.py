"""MViTv2: a transformer over patches whose grid gets coarser and whose channels get more."""

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones.backbone import Backbone, Stage, in_turn, scale_channels
from asd_experiments.models.backbones.published import TorchvisionWeights

HEAD_CHANNELS = 96
SCALES = ((1, 1, 8), (2, 2, 4), (11, 4, 2), (2, 8, 1))
"""Blocks, attention heads, and spatial stride of keys and values, of each of the four scales."""


class Tokens(NamedTuple):
    """State of the network between blocks."""

    values: Float[Tensor, "clip token channel"]
    """The class token, then one token per place, row by row."""

    grid: tuple[int, int, int]
    """Frames, height and width of the places."""


class MViTV2S(Backbone):
    """MViTv2-S: a class token gathers what attention finds in patches of 2x4x4 pixels.

    The maps between stages are the tokens of the places; the class token is kept beside them. The
    features are the normalised class token. The very last block, in which it looks at the places
    a last time, belongs to `features`: after it, maps would change nothing any more.

    `network` is torchvision's without its `head`, so that with `width` 1 its weights load. Tables
    of relative positions keep the published size, for 16 frames of 224 pixels, and are
    interpolated to other clips as torchvision does. `width` scales the channels of a head; the
    number of heads stays.

    Positions and queries of the last block's places reach no feature in the published network
    either; these few parameters are frozen.

    References:
        Li et al. 2022, section 4.1 and table 2, https://arxiv.org/abs/2112.01526.
        torchvision, `torchvision.models.video.mvit_v2_s`.
    """

    canonical_clip = (16, 224)
    min_size = 32
    stem_convolutions = ("network.conv_proj",)
    published = TorchvisionWeights(
        dataset="kinetics400",
        name="MViT_V2_S_Weights.KINETICS400_V1",
        head=("head",),
        module="network",
    )

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        from torchvision.models.video.mvit import MViT

        head_channels = scale_channels(HEAD_CHANNELS, width)
        frames, side = self.canonical_clip
        self.network = MViT(
            spatial_size=(side, side),
            temporal_size=frames,
            block_setting=_block_settings(head_channels),
            residual_pool=True,
            residual_with_cls_embed=False,
            rel_pos_embed=True,
            proj_after_attn=True,
            stochastic_depth_prob=0.2,
        )
        del self.network.head
        patches = self.network.conv_proj
        self.network.conv_proj = nn.Conv3d(
            in_channels,
            patches.out_channels,
            patches.kernel_size,
            stride=patches.stride,
            padding=patches.padding,
        )
        last = self.network.blocks[-1].attn
        for unused in (last.rel_pos_t, last.rel_pos_h, last.rel_pos_w, last.pool_q.pool.weight):
            unused.requires_grad_(False)
        return head_channels * SCALES[-1][1]

    @property
    def stages(self) -> list[Stage]:
        """The patches and the four scales, without the last block."""
        steps = [_step(block) for block in list(self.network.blocks)[:-1]]
        ends = [sum(blocks for blocks, *_ in SCALES[:k]) for k in range(len(SCALES) + 1)]
        scales = [in_turn(*steps[k:end]) for k, end in pairwise(ends)]
        return [self._embed, *scales]

    def read(self, state: Tokens) -> Float[Tensor, "clip channel time height width"]:
        """The tokens of the places, as maps."""
        places = state.values[:, 1:].transpose(1, 2)
        return places.reshape(*places.shape[:2], *state.grid)

    def write(self, state: Tokens, maps: Float[Tensor, "clip channel time height width"]) -> Tokens:
        """Other tokens for the places, beside the same class token."""
        places = maps.flatten(2).transpose(1, 2)
        return Tokens(torch.cat([state.values[:, :1], places], dim=1), state.grid)

    def features(self, state: Tokens) -> Float[Tensor, "clip feature"]:
        """Run the last block, and normalise the class token."""
        values, _ = self.network.blocks[-1](*state)
        features: Tensor = self.dropout(self.network.norm(values)[:, 0])
        return features

    def _embed(self, clip: Float[Tensor, "clip channel time height width"]) -> Tokens:
        patches = self.network.conv_proj(clip)
        _, _, time, height, width = patches.shape
        values = self.network.pos_encoding(patches.flatten(2).transpose(1, 2))
        return Tokens(values, (time, height, width))


def _step(block: nn.Module) -> Stage:
    return lambda state: Tokens(*block(*state))


def _block_settings(head_channels: int) -> list[Any]:
    """The blocks of all scales: the first one of a scale widens, and all but one halve the grid."""
    from torchvision.models.video.mvit import MSBlockConfig

    settings = []
    channels = head_channels
    for scale, (num_blocks, heads, stride) in enumerate(SCALES):
        for block in range(num_blocks):
            step = 2 if scale and not block else 1
            settings.append(
                MSBlockConfig(
                    num_heads=heads,
                    input_channels=channels,
                    output_channels=head_channels * heads,
                    kernel_q=[3, 3, 3],
                    kernel_kv=[3, 3, 3],
                    stride_q=[1, step, step],
                    stride_kv=[1, stride, stride],
                )
            )
            channels = head_channels * heads
    return settings
