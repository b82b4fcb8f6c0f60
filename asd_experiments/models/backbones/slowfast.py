"""SlowFast: few frames through many channels, many frames through few."""

from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones.backbone import Backbone, scale_channels
from asd_experiments.models.backbones.pytorchvideo_builders import create_slowfast

ALPHA = 4
"""Frames of the fast pathway per frame of the slow one."""

INVERSE_BETA = 8
"""Channels of the slow pathway per channel of the fast one."""

STEM_CHANNELS = 64
STEM_TO_FEATURES = 32


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

    min_size = 32

    def __init__(
        self, *, in_channels: int, clip_length: int, size: int, width: float, dropout: float
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            clip_length=clip_length,
            size=size,
            width=width,
            dropout=dropout,
        )
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
            head_pool=nn.AdaptiveAvgPool3d,
        )
        self.dropout = nn.Dropout(dropout)
        self.num_features = (slow_channels + fast_channels) * STEM_TO_FEATURES

    def forward(
        self, clip: Float[Tensor, "clip channel time height width"]
    ) -> Float[Tensor, "clip feature"]:
        """Compute the slow pathway's features followed by the fast pathway's."""
        # pytorchvideo overwrites the list it is given, so it gets one of its own.
        pathways = [clip[:, :, ::ALPHA], clip]
        features: Tensor = self.dropout(self.network(pathways).flatten(1))
        return features
