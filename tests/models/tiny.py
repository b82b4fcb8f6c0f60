"""A backbone of five plain convolutions, so that every fusion is tried in a moment."""

from unittest.mock import patch

import torch
from torch import nn

from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.backbones.backbone import Backbone
from asd_experiments.models.two_stream import TwoStream, build_two_stream

CHANNELS = 16
SPATIAL_STRIDES = (2, 2, 2, 1, 1)
CLIP_LENGTH, SIZE = 4, 16


class Tiny(Backbone):
    """Maps of 16 channels that keep time; 16 px end as 2x2, seen by every position."""

    min_size = 8

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        sizes = [in_channels] + [CHANNELS] * len(SPATIAL_STRIDES)
        self.convolutions = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(sizes[k], CHANNELS, 3, stride=(1, stride, stride), padding=1), nn.ReLU()
            )
            for k, stride in enumerate(SPATIAL_STRIDES)
        )
        for stage in self.convolutions:
            nn.init.kaiming_normal_(stage[0].weight, nonlinearity="relu")
            nn.init.zeros_(stage[0].bias)
        return CHANNELS

    @property
    def stages(self):
        return list(self.convolutions)

    def features(self, state):
        return self.dropout(state.mean(dim=(2, 3, 4)))


def tiny_two_stream(fusion: str, *, num_classes: int = 2, seed: int = 0) -> TwoStream:
    torch.manual_seed(seed)
    with patch.dict(BACKBONES, tiny=Tiny):
        return build_two_stream(
            backbone="tiny",
            fusion=fusion,
            num_classes=num_classes,
            clip_length=CLIP_LENGTH,
            size=SIZE,
            width=1.0,
            dropout=0.0,
        )


def tiny_clips(number: int, *, seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        stream: torch.randn(number, channels, CLIP_LENGTH, SIZE, SIZE, generator=generator)
        for stream, channels in (("appearance", 3), ("motion", 2))
    }
