"""Backbones: 3D CNNs that turn a clip into a feature vector, one file each."""

from asd_experiments.config import BackboneName
from asd_experiments.models.backbones.backbone import Backbone
from asd_experiments.models.backbones.c3d import C3D
from asd_experiments.models.backbones.r2plus1d_18 import R2Plus1D
from asd_experiments.models.backbones.slow_50 import Slow
from asd_experiments.models.backbones.slowfast_50 import SlowFast

BACKBONES: dict[BackboneName, type[Backbone]] = {
    "c3d": C3D,
    "r2plus1d_18": R2Plus1D,
    "slowfast_50": SlowFast,
    "slow_50": Slow,
}


def build_backbone(
    name: str, *, in_channels: int, clip_length: int, size: int, width: float, dropout: float
) -> Backbone:
    """Build a backbone by its name, with fresh weights.

    Args:
        name: A key of `BACKBONES`.
        in_channels: Channels of the clip: 3 for RGB, 2 for optical flow.
        clip_length: Frames per clip.
        size: Height and width of the clip, pixels.
        width: Multiplier of every layer's channels; 1 is the published network.
        dropout: Probability of dropping a feature in training, 0 to 1.

    Raises:
        ValueError: If the name is unknown or the clip too short or too small for the network.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; choose one of: {', '.join(BACKBONES)}")
    return BACKBONES[name](
        in_channels=in_channels, clip_length=clip_length, size=size, width=width, dropout=dropout
    )
