"""Backbones: networks that turn a clip into a feature vector, one file each."""

from asd_experiments.config import BackboneName
from asd_experiments.errors import unknown_choice
from asd_experiments.models.backbones.backbone import Backbone
from asd_experiments.models.backbones.c3d import C3D
from asd_experiments.models.backbones.c3d_gap import C3DGap
from asd_experiments.models.backbones.cnn_lstm import CNNLSTM
from asd_experiments.models.backbones.csn_101 import CSN
from asd_experiments.models.backbones.i3d_50 import I3D
from asd_experiments.models.backbones.mc3_18 import MC3
from asd_experiments.models.backbones.mvit_v2_s import MViTV2S
from asd_experiments.models.backbones.r2plus1d_18 import R2Plus1D
from asd_experiments.models.backbones.r2plus1d_50 import R2Plus1D50
from asd_experiments.models.backbones.r3d_18 import R3D
from asd_experiments.models.backbones.resnet2d_50 import ResNet2D
from asd_experiments.models.backbones.slow_50 import Slow
from asd_experiments.models.backbones.slowfast_50 import SlowFast
from asd_experiments.models.backbones.x3d_m import X3DM
from asd_experiments.models.backbones.x3d_s import X3DS

BACKBONES: dict[BackboneName, type[Backbone]] = {
    "c3d": C3D,
    "c3d_gap": C3DGap,
    "r2plus1d_18": R2Plus1D,
    "r3d_18": R3D,
    "mc3_18": MC3,
    "r2plus1d_50": R2Plus1D50,
    "slow_50": Slow,
    "slowfast_50": SlowFast,
    "x3d_s": X3DS,
    "x3d_m": X3DM,
    "i3d_50": I3D,
    "csn_101": CSN,
    "mvit_v2_s": MViTV2S,
    "resnet2d_50": ResNet2D,
    "cnn_lstm": CNNLSTM,
}


def find_backbone(name: str) -> type[Backbone]:
    """Look a backbone up by its name, for instance to learn which clips it takes.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in BACKBONES:
        raise ValueError(unknown_choice("backbone", name, BACKBONES))
    return BACKBONES[name]


def build_backbone(
    name: str, *, in_channels: int, clip_length: int, size: int, width: float, dropout: float
) -> Backbone:
    """Build a backbone by its name, with fresh weights.

    Args:
        name: A key of `BACKBONES`.
        in_channels: Channels of the clip: 3 for RGB, 2 for optical flow, 5 for both.
        clip_length: Frames per clip.
        size: Height and width of the clip, pixels.
        width: Multiplier of every layer's channels; 1 is the published network.
        dropout: Probability of dropping a feature in training, 0 to 1.

    Raises:
        ValueError: If the name is unknown or the network cannot take such clips.
    """
    return find_backbone(name)(
        in_channels=in_channels, clip_length=clip_length, size=size, width=width, dropout=dropout
    )
