"""I3D: a ResNet-50 whose filters are inflated in time, in every second block or so."""

from typing import Any

from torch import nn

from asd_experiments.models.backbones.backbone import Stage, in_turn
from asd_experiments.models.backbones.published import PytorchvideoWeights
from asd_experiments.models.backbones.pytorchvideo_resnet import PytorchvideoResNet

TEMPORAL, SPATIAL = (3, 1, 1), (1, 1, 1)
FIRST_CONVOLUTIONS = (
    TEMPORAL,
    [TEMPORAL, SPATIAL],
    [TEMPORAL, SPATIAL],
    [SPATIAL, TEMPORAL],
)
"""Kernel of the blocks' first convolution, by stage; a list is repeated from block to block."""


class I3D(PytorchvideoResNet):
    """I3D on a ResNet-50, a 5x7x7 stem, and time halved once, after the first stage.

    pytorchvideo's network but for its pool, see `PytorchvideoResNet`. The first paper's I3D is an
    Inception; the ResNet-50 is that of the second, without its non-local blocks. Halving time is
    counted to the stage before it.

    References:
        Carreira and Zisserman 2017, section 2.4, https://arxiv.org/abs/1705.07750.
        Wang et al. 2018, section 4.1 (ResNet-50), https://arxiv.org/abs/1711.07971.
        pytorchvideo, `pytorchvideo.models.hub.i3d_r50`.
    """

    canonical_clip = (8, 224)
    faster_channels_last = True
    published = PytorchvideoWeights(name="i3d_r50", head=("blocks.6",))

    def make_network(self, in_channels: int, stem_channels: int) -> Any:
        """See `PytorchvideoResNet`."""
        from asd_experiments.models.backbones.pytorchvideo_builders import create_resnet

        return create_resnet(
            input_channel=in_channels,
            model_depth=50,
            stem_dim_out=stem_channels,
            stem_conv_kernel_size=(5, 7, 7),
            stage1_pool=nn.MaxPool3d,
            stage_conv_a_kernel_size=FIRST_CONVOLUTIONS,
        )

    @property
    def stages(self) -> list[Stage]:
        """The stem and four stages, the first with its temporal pool."""
        stem, first, pool, *others = self.network.blocks
        return [stem, in_turn(first, pool), *others]
