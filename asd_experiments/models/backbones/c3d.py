"""C3D: plain 3x3x3 convolutions, as first used to learn features from video."""

from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones.backbone import scale_channels
from asd_experiments.models.backbones.c3d_layers import SPORTS1M, C3DConvolutions

FULLY_CONNECTED = 4096
POOLED = (1, 4, 4)
"""Frames, height and width that pool 5 leaves of a canonical clip."""


class C3D(C3DConvolutions):
    """Eight convolutions, five max pools and fc6, fc7; the features are fc7.

    fc6 is sized for one clip, 16 frames of 112 pixels, and no other is taken; `c3d_gap` takes
    any. Dropout follows fc6 and fc7.

    References:
        Tran et al. 2015, section 3.3, https://arxiv.org/abs/1412.0767.
        Spatial padding of pool 5 (7 to 4): the authors' Caffe release, kept by its ports.
        In no library; published weights have names of their own.
    """

    min_clip_length, min_size = C3DConvolutions.canonical_clip
    published = SPORTS1M

    @classmethod
    def check_clip(cls, clip_length: int, size: int) -> None:
        """Refuse every clip but the published one; see `Backbone`."""
        if (clip_length, size) != cls.canonical_clip:
            frames, side = cls.canonical_clip
            raise ValueError(
                f"clip_length and size of c3d must be {frames} and {side} (its fc6 fits no other "
                f"clip), got {clip_length} and {size}; choose c3d_gap for other clips"
            )

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        channels = self.build_convolutions(in_channels, clip_length, width)
        num_features = scale_channels(FULLY_CONNECTED, width)
        self.pool5 = nn.MaxPool3d(2, padding=(0, 1, 1))
        self.fc6 = nn.Linear(channels * POOLED[0] * POOLED[1] * POOLED[2], num_features)
        self.fc7 = nn.Linear(num_features, num_features)
        self.relu = nn.ReLU()
        self.initialise()
        return num_features

    def features(
        self, state: Float[Tensor, "clip channel time height width"]
    ) -> Float[Tensor, "clip feature"]:
        """Compute fc7, after its ReLU and dropout."""
        fc6 = self.dropout(self.relu(self.fc6(self.pool5(state).flatten(1))))
        fc7: Tensor = self.dropout(self.relu(self.fc7(fc6)))
        return fc7
