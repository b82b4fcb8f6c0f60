"""C3D without its fully connected layers, for clips of any length and size."""

from dataclasses import replace

from asd_experiments.models.backbones.c3d_layers import SPORTS1M, C3DConvolutions


class C3DGap(C3DConvolutions):
    """C3D's convolutions, then global average pooling in place of pool 5, fc6 and fc7.

    The features are the mean over time and space of conv5b after its ReLU: 512 numbers that say
    how strongly a pattern occurs on average, not where or when. C3D's 4096 of fc7 know both, and
    cost 50 of its 78 million parameters. This is not the published network, and the published
    figures are not its own.

    References:
        Tran et al. 2015, section 3.3 (the convolutions), https://arxiv.org/abs/1412.0767.
        Lin et al. 2014, section 3.2 (the pooling), https://arxiv.org/abs/1312.4400.
    """

    published = replace(SPORTS1M, head=("fc6", "fc7", "fc8"))

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        channels = self.build_convolutions(in_channels, clip_length, width)
        self.initialise()
        return channels
