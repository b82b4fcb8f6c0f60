"""Small two-stream models of real backbones, and clips for them."""

import torch

from asd_experiments.models.two_stream import TwoStream, build_two_stream


def small_clip(backbone: str) -> tuple[int, int]:
    """Frames and pixels of a clip that the network takes."""
    return (16, 112) if backbone == "c3d" else (8, 32)


def small_two_stream(
    backbone: str = "slow_50", fusion: str = "late_average", *, seed: int = 0, **changes: object
) -> TwoStream:
    """A model of two classes with an eighth of the channels, the same every time."""
    clip_length, size = small_clip(backbone)
    settings = {
        "num_classes": 2,
        "clip_length": clip_length,
        "size": size,
        "width": 0.125,
        "dropout": 0.0,
        **changes,
    }
    torch.manual_seed(seed)
    return build_two_stream(backbone=backbone, fusion=fusion, **settings)


def small_clips(number: int, backbone: str = "slow_50") -> tuple[torch.Tensor, torch.Tensor]:
    """The same clips of both streams every time."""
    clip_length, size = small_clip(backbone)
    generator = torch.Generator().manual_seed(1)
    appearance, motion = (
        torch.randn(number, channels, clip_length, size, size, generator=generator)
        for channels in (3, 2)
    )
    return appearance, motion
