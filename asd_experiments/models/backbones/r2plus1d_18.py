"""R(2+1)D: every 3D convolution split into a spatial and a temporal one."""

from typing import Any

from torch import nn

from asd_experiments.models.backbones.backbone import scale_channels
from asd_experiments.models.backbones.published import TorchvisionWeights
from asd_experiments.models.backbones.video_resnet import (
    STEM_CHANNELS,
    VideoResNet,
    conv_norm_relu,
)

STEM_MIDDLE_CHANNELS = 45


class R2Plus1D(VideoResNet):
    """R(2+1)D with 18 layers: spatial, then temporal convolutions, the stem's as well.

    Layers 2 to 4 halve time and space. torchvision's network, see `VideoResNet`.

    References:
        Tran et al. 2018, section 3.5, https://arxiv.org/abs/1711.11248.
        torchvision, `torchvision.models.video.r2plus1d_18`.
    """

    published = TorchvisionWeights(
        dataset="kinetics400", name="R2Plus1D_18_Weights.KINETICS400_V1", head=("fc",)
    )

    def conv_makers(self) -> list[Any]:
        """See `VideoResNet`."""
        from torchvision.models.video.resnet import Conv2Plus1D

        return 4 * [Conv2Plus1D]

    def make_stem(self, in_channels: int, width: float) -> nn.Sequential:
        """A spatial convolution, then a temporal one."""
        middle, channels = (scale_channels(c, width) for c in (STEM_MIDDLE_CHANNELS, STEM_CHANNELS))
        return nn.Sequential(
            *conv_norm_relu(in_channels, middle, (1, 7, 7)),
            *conv_norm_relu(middle, channels, (3, 1, 1)),
        )
