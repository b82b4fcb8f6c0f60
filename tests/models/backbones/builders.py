"""Small networks of every kind, and clips for them."""

from functools import cache

import torch

from asd_experiments.models.backbones import BACKBONES, build_backbone
from asd_experiments.models.backbones.backbone import Backbone

FLEXIBLE = [name for name in BACKBONES if name != "c3d"]
"""Backbones that take clips of any length and size."""


def small_clip(name: str) -> tuple[int, int]:
    """Frames and pixels of a clip that the network takes."""
    return (8, 64) if name in FLEXIBLE else BACKBONES[name].canonical_clip


def build(
    name, *, in_channels=3, clip_length=None, size=None, width=0.125, dropout=0.5, seed=0
) -> Backbone:
    """A network with the same weights every time."""
    frames, side = small_clip(name) if name in BACKBONES else (8, 64)
    torch.manual_seed(seed)
    return build_backbone(
        name,
        in_channels=in_channels,
        clip_length=clip_length or frames,
        size=size or side,
        width=width,
        dropout=dropout,
    )


@cache
def built(name: str) -> Backbone:
    """The same small network for all tests that leave it as it is, in evaluation."""
    return build(name).eval()


def random_clips(number, name="slow_50", *, in_channels=3, clip_length=None, size=None):
    """The same clips every time."""
    frames, side = small_clip(name)
    frames, side = clip_length or frames, size or side
    generator = torch.Generator().manual_seed(1)
    return torch.randn(number, in_channels, frames, side, side, generator=generator)


def stage_maps(backbone: Backbone, clips: torch.Tensor) -> list[torch.Tensor]:
    """Maps after every stage."""
    state, maps = backbone.start(clips), []
    for stage in backbone.stages:
        state = stage(state)
        maps.append(backbone.read(state))
    return maps
