"""CSN: channels are mixed by 1x1x1 convolutions, space and time one channel at a time."""

from typing import Any

from torch import nn

from asd_experiments.models.backbones.published import PytorchvideoWeights
from asd_experiments.models.backbones.pytorchvideo_resnet import PytorchvideoResNet


class CSN(PytorchvideoResNet):
    """Channel-separated network with 101 layers: depthwise 3x3x3 convolutions in bottlenecks.

    pytorchvideo's network but for its pool, see `PytorchvideoResNet`. It is the paper's ir-CSN:
    nothing but the depthwise convolution stands in for a bottleneck's 3x3x3. A narrower network
    has as many groups as channels too.

    References:
        Tran et al. 2019, section 3.3, https://arxiv.org/abs/1904.02811.
        pytorchvideo, `pytorchvideo.models.hub.csn_r101`.
    """

    canonical_clip = (32, 224)
    published = PytorchvideoWeights(name="csn_r101", head=("blocks.5",))

    def make_network(self, in_channels: int, stem_channels: int) -> Any:
        """See `PytorchvideoResNet`."""
        from asd_experiments.models.backbones.pytorchvideo_builders import create_csn

        return create_csn(
            input_channel=in_channels,
            model_depth=101,
            stem_dim_out=stem_channels,
            stem_pool=nn.MaxPool3d,
        )
