"""R(2+1)D on a ResNet-50 of bottleneck blocks."""

from typing import Any

from asd_experiments.models.backbones.published import PytorchvideoWeights
from asd_experiments.models.backbones.pytorchvideo_resnet import PytorchvideoResNet


class R2Plus1D50(PytorchvideoResNet):
    """R(2+1)D with 50 layers: the blocks' middle convolution split into space and time.

    pytorchvideo's network but for its pool, see `PytorchvideoResNet`. The paper's blocks have no
    bottleneck, its split matches the parameters of the 3D convolution, and its stem is split too;
    none of that is so here, where the stem is spatial and every split keeps the channels.

    References:
        Tran et al. 2018, section 3.5, https://arxiv.org/abs/1711.11248.
        pytorchvideo, `pytorchvideo.models.hub.r2plus1d_r50`.
    """

    canonical_clip = (16, 224)
    published = PytorchvideoWeights(name="r2plus1d_r50", head=("blocks.5",))

    def make_network(self, in_channels: int, stem_channels: int) -> Any:
        """See `PytorchvideoResNet`."""
        from asd_experiments.models.backbones.pytorchvideo_builders import create_r2plus1d

        return create_r2plus1d(
            input_channel=in_channels, model_depth=50, stem_dim_out=stem_channels
        )
