"""Slow: a ResNet-50 that never pools time; the slow pathway of SlowFast alone."""

from jaxtyping import Float
from torch import Tensor

from asd_experiments.models.backbones.backbone import Backbone, Stage, scale_channels
from asd_experiments.models.backbones.published import PytorchvideoWeights
from asd_experiments.models.backbones.pytorchvideo_builders import create_resnet

STEM_CHANNELS = 64
STEM_TO_FEATURES = 32


class Slow(Backbone):
    """Slow ResNet-50, pooled over the whole feature map so that any clip length fits.

    `network` is pytorchvideo's `slow_r50` without its head; with `width` 1 the published
    weights load into it once those of the head (`blocks.5`) are left out.

    References:
        Feichtenhofer et al. 2019, table 1 (slow pathway), https://arxiv.org/abs/1812.03982.
        pytorchvideo, `pytorchvideo.models.hub.slow_r50`.
    """

    min_size = 32
    stem_convolutions = ("network.blocks.0.conv",)
    published = PytorchvideoWeights(name="slow_r50", head=("blocks.5",))

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        stem_channels = scale_channels(STEM_CHANNELS, width)
        self.network = create_resnet(
            input_channel=in_channels,
            model_depth=50,
            stem_dim_out=stem_channels,
            stem_conv_kernel_size=(1, 7, 7),
            head=None,
        )
        return stem_channels * STEM_TO_FEATURES

    @property
    def stages(self) -> list[Stage]:
        """The network's blocks: a stem and four stages."""
        return list(self.network.blocks)

    def features(
        self, state: Float[Tensor, "clip channel time height width"]
    ) -> Float[Tensor, "clip feature"]:
        """Average the last stage's maps over time and space."""
        features: Tensor = self.dropout(state.mean(dim=(2, 3, 4)))
        return features
