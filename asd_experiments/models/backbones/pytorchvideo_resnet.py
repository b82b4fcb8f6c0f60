"""pytorchvideo's bottleneck ResNets: a stem, four stages, and a head that is left out."""

from typing import Any

from asd_experiments.models.backbones.backbone import Backbone, Stage, scale_channels

STEM_CHANNELS = 64
STEM_TO_FEATURES = 32


class PytorchvideoResNet(Backbone):
    """A ResNet of pytorchvideo's `blocks`, pooled over the whole map so that any clip fits.

    `network` is the library's network without its head, the last of its `blocks`; with `width` 1
    the published weights load into it once those of the head are left out. A subclass calls the
    library's builder as the library's hub does.
    """

    min_size = 32
    stem_convolutions = ("network.blocks.0.conv",)

    def make_network(self, in_channels: int, stem_channels: int) -> Any:
        """Call the library's builder; every layer's channels follow from the stem's."""
        raise NotImplementedError

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        stem_channels = scale_channels(STEM_CHANNELS, width)
        self.network: Any = self.make_network(in_channels, stem_channels)
        del self.network.blocks[-1]
        return stem_channels * STEM_TO_FEATURES

    @property
    def stages(self) -> list[Stage]:
        """The network's blocks: a stem and four stages."""
        return list(self.network.blocks)
