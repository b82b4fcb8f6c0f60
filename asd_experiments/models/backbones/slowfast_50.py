"""SlowFast: few frames through many channels, many frames through few."""

import torch
from jaxtyping import Float
from torch import Tensor

from asd_experiments.models.backbones.backbone import NUM_STAGES, Backbone, Stage, scale_channels
from asd_experiments.models.backbones.published import PytorchvideoWeights
from asd_experiments.models.backbones.pytorchvideo_resnet import STEM_CHANNELS, STEM_TO_FEATURES

ALPHA = 4
"""Frames of the fast pathway per frame of the slow one."""

INVERSE_BETA = 8
"""Channels of the slow pathway per channel of the fast one."""

Pathways = list[Tensor]
"""Maps of the slow pathway and of the fast one."""


class SlowFast(Backbone):
    """SlowFast-R50, each pathway pooled over its whole feature map so that any clip fits.

    The fast pathway sees every frame, the slow one frames 0, 4, 8 and so on, which are the
    centres of the time-strided lateral convolutions. A clip length that is no multiple of four
    is taken too: the slow pathway then has one frame for every four begun. (32 frames make the
    published 8x8 network. Its authors' code samples the slow frames evenly from first to last,
    at uneven steps; the paper's constant step is kept here.)

    The slow stem's channels are rounded to a multiple of 8, so that the fast pathway has exactly
    an eighth of the slow one's; at `width` 0.125 the fast stem is a single channel.

    `network` is pytorchvideo's `slowfast_r50` without its last layer; with `width` 1 the published
    weights load into it once those of the head (`blocks.6`) are left out.

    References:
        Feichtenhofer et al. 2019, section 3 and table 1, https://arxiv.org/abs/1812.03982.
        pytorchvideo, `pytorchvideo.models.hub.slowfast_r50`.
    """

    canonical_clip = (32, 224)
    min_size = 32
    stem_convolutions = (
        "network.blocks.0.multipathway_blocks.0.conv",
        "network.blocks.0.multipathway_blocks.1.conv",
    )
    published = PytorchvideoWeights(name="slowfast_r50", head=("blocks.5", "blocks.6"))

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        from asd_experiments.models.backbones.pytorchvideo_builders import create_slowfast

        slow_channels = scale_channels(STEM_CHANNELS, width, multiple_of=INVERSE_BETA)
        fast_channels = slow_channels // INVERSE_BETA
        self.network = create_slowfast(
            slowfast_channel_reduction_ratio=(INVERSE_BETA,),
            slowfast_fusion_conv_kernel_size=(7, 1, 1),
            slowfast_fusion_conv_stride=(ALPHA, 1, 1),
            input_channels=(in_channels, in_channels),
            model_depth=50,
            stem_dim_outs=(slow_channels, fast_channels),
            head=None,
        )
        return (slow_channels + fast_channels) * STEM_TO_FEATURES

    @property
    def stages(self) -> list[Stage]:
        """The network's blocks: a stem and four stages, each with its lateral connection."""
        return list(self.network.blocks[:NUM_STAGES])

    def start(self, clip: Float[Tensor, "clip channel time height width"]) -> Pathways:
        """What each pathway sees: every fourth frame, and all of them."""
        return [clip[:, :, ::ALPHA], clip]

    def read(self, state: Pathways) -> Float[Tensor, "clip channel time height width"]:
        """The slow pathway's maps, with what the fast one has added to them."""
        return state[0]

    def write(
        self, state: Pathways, maps: Float[Tensor, "clip channel time height width"]
    ) -> Pathways:
        """Other maps for the slow pathway."""
        return [maps, state[1]]

    def features(self, state: Pathways) -> Float[Tensor, "clip feature"]:
        """Average each pathway over time and space; the slow one's features come first."""
        features: Tensor = self.dropout(torch.cat([p.mean(dim=(2, 3, 4)) for p in state], dim=1))
        return features
