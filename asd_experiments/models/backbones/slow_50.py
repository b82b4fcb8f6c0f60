"""Slow: a ResNet-50 that never pools time; the slow pathway of SlowFast alone."""

from typing import Any

from asd_experiments.models.backbones.published import PytorchvideoWeights
from asd_experiments.models.backbones.pytorchvideo_resnet import PytorchvideoResNet


class Slow(PytorchvideoResNet):
    """Slow ResNet-50: temporal convolutions in the last two stages alone.

    pytorchvideo's network but for its pool, see `PytorchvideoResNet`.

    References:
        Feichtenhofer et al. 2019, table 1 (slow pathway), https://arxiv.org/abs/1812.03982.
        pytorchvideo, `pytorchvideo.models.hub.slow_r50`.
    """

    canonical_clip = (8, 224)
    faster_channels_last = True
    published = PytorchvideoWeights(name="slow_r50", head=("blocks.5",))

    def make_network(self, in_channels: int, stem_channels: int) -> Any:
        """See `PytorchvideoResNet`."""
        from asd_experiments.models.backbones.pytorchvideo_builders import create_resnet

        return create_resnet(
            input_channel=in_channels,
            model_depth=50,
            stem_dim_out=stem_channels,
            stem_conv_kernel_size=(1, 7, 7),
        )
