"""X3D: a small 2D network expanded along time, space, width and depth, one at a time."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones.backbone import NUM_STAGES, Backbone, Stage, scale_channels

WIDTH_FACTOR = 2.0
HEAD_CHANNELS = 2048


class Swish(nn.Module):
    """x * sigmoid(x), bit for bit as pytorchvideo's layer.

    That one has a backward pass of its own, which PyTorch calls deprecated and cannot compile.
    """

    def forward(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Apply it to every value."""
        return values * torch.sigmoid(values)


class X3D(Backbone):
    """X3D of a given width and depth; its sizes differ in the clips that they were made for.

    Depthwise 3x3x3 convolutions with squeeze and excitation; time is never pooled before the end.
    The features are those of the published head before its classifier: expanded, averaged over
    the whole map so that any clip fits, and taken through one more layer. `network` is
    pytorchvideo's; with `width` 1 the published weights load into it once those of the head's
    `blocks.5.proj` are left out.

    pytorchvideo rounds channels to multiples of 8; depthwise groups and the squeezed channels
    follow from them.

    References:
        Feichtenhofer 2020, section 3.1 and table 3, https://arxiv.org/abs/2004.04730.
        pytorchvideo, `pytorchvideo.models.x3d.create_x3d`.
    """

    min_size = 32
    stem_convolutions = ("network.blocks.0.conv.conv_t",)

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        from asd_experiments.models.backbones.pytorchvideo_builders import create_x3d

        num_features = scale_channels(HEAD_CHANNELS, width)
        self.network = create_x3d(
            input_channel=in_channels,
            width_factor=WIDTH_FACTOR * width,
            inner_act=Swish,
            head_dim_out=num_features,
        )
        head = self.network.blocks[NUM_STAGES]
        head.pool.pool = nn.AdaptiveAvgPool3d(1)
        head.proj = nn.Identity()
        return num_features

    @property
    def stages(self) -> list[Stage]:
        """The network's blocks but the head: a stem and four stages."""
        return list(self.network.blocks[:NUM_STAGES])

    def features(
        self, state: Float[Tensor, "clip channel time height width"]
    ) -> Float[Tensor, "clip feature"]:
        """Expand the channels, average over time and space, and mix the channels once more."""
        features: Tensor = self.dropout(self.network.blocks[NUM_STAGES].pool(state).flatten(1))
        return features
