"""From stored frames to the tensors of the two streams, with or without augmentation."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from asd_experiments.data.resizing import rescale_flow, resize
from asd_experiments.data.store import StoredFrames
from asd_experiments.normalisation import KINETICS, Normalisation

FULL_MOTION = 20 / 224
"""Displacement that becomes 1.0, as a share of the frame's side: I3D's 20 pixels of 224.

Larger ones are not truncated, as I3D's are.

References:
    https://github.com/google-deepmind/kinetics-i3d, "Sample data and preprocessing".
"""


class Clip(NamedTuple):
    """One clip as the two streams see it."""

    appearance: Float[Tensor, "3 time height width"]
    motion: Float[Tensor, "2 time height width"]


@dataclass(frozen=True)
class Augmentation:
    """One random change of a clip, the same for every frame and for both streams."""

    flip: bool = False
    """Mirror left and right."""

    left: float = 0.0
    """Left edge of the cut-out, as a share of the frame's side."""

    top: float = 0.0
    """Top edge of the cut-out, as a share of the frame's side."""

    side: float = 1.0
    """Side of the cut-out, as a share of the frame's side."""

    brightness: float = 1.0
    """Factor on the RGB values; flow is not changed by light."""


UNCHANGED = Augmentation()


def draw_augmentation(seed: int) -> Augmentation:
    """Draw a flip (half of the clips), a cut-out of 85 to 100 % and a brightness of ±20 %.

    The ranges are ours and not tuned: changes that a camera's place and a room's light make.
    """
    rng = np.random.default_rng(seed)
    side = rng.uniform(0.85, 1.0)
    return Augmentation(
        flip=bool(rng.random() < 0.5),
        left=rng.uniform(0, 1 - side),
        top=rng.uniform(0, 1 - side),
        side=side,
        brightness=rng.uniform(0.8, 1.2),
    )


def make_clip(
    frames: StoredFrames,
    *,
    clip_length: int,
    size: int,
    segmentation: bool,
    normalisation: Normalisation = KINETICS,
    augmentation: Augmentation = UNCHANGED,
) -> Clip:
    """Turn stored frames into the input of a two-stream network.

    A clip of n frames carries n - 1 flow fields; the last one is repeated, so that both streams
    are n long. A video shorter than the clip holds its last frame, without motion.

    Args:
        frames: At most `clip_length` consecutive frames and the flow between them.
        clip_length: Frames of the clip.
        size: Side of the result, pixels.
        segmentation: Blank both streams outside the body mask.
        normalisation: How RGB is scaled for the network.
        augmentation: The change to make.

    Returns:
        Normalised appearance and motion; the blanked background is 0 in both.
    """
    frames = cut(frames, augmentation)
    appearance = normalise_rgb(torch.from_numpy(frames.rgb), normalisation, augmentation.brightness)
    motion = torch.from_numpy(frames.flow).permute(3, 0, 1, 2)
    if segmentation:
        body = torch.from_numpy(frames.mask)
        appearance = appearance * body
        motion = motion * body[:-1]
    appearance = resize(appearance, size)
    motion = rescale_flow(motion, size) / (FULL_MOTION * size)
    if augmentation.flip:
        appearance, motion = appearance.flip(-1), flip_flow(motion)
    return Clip(hold_last(appearance, clip_length), fill_motion(motion, clip_length))


def cut(frames: StoredFrames, augmentation: Augmentation) -> StoredFrames:
    """Cut the augmentation's square out of every frame, to the nearest pixel."""
    if augmentation.side == 1:
        return frames
    size = frames.rgb.shape[1]
    side = round(augmentation.side * size)
    top, left = (
        min(round(edge * size), size - side) for edge in (augmentation.top, augmentation.left)
    )
    window = (slice(None), slice(top, top + side), slice(left, left + side))
    return StoredFrames(*(np.ascontiguousarray(array[window]) for array in frames))


def normalise_rgb(
    rgb: UInt8[Tensor, "time height width 3"],
    normalisation: Normalisation = KINETICS,
    brightness: float = 1.0,
) -> Float32[Tensor, "3 time height width"]:
    """Scale 0..255 to the mean and deviation that the network expects."""
    values = rgb.permute(3, 0, 1, 2).float() * (brightness / 255)
    mean, std = (
        torch.tensor(figures).reshape(3, 1, 1, 1)
        for figures in (normalisation.mean, normalisation.std)
    )
    return (values.clamp_(max=1) - mean) / std


def flip_flow(
    flow: Float[Tensor, "2 pair height width"],
) -> Float[Tensor, "2 pair height width"]:
    """Mirror optical flow left and right: what moved right now moves left, so x is negated."""
    return flow.flip(-1) * torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1)


def hold_last(
    frames: Float[Tensor, "channel time height width"], length: int
) -> Float[Tensor, "channel length height width"]:
    """Repeat the last frame until there are `length`."""
    missing = length - frames.shape[1]
    if missing == 0:
        return frames
    return torch.cat([frames, frames[:, -1:].expand(-1, missing, -1, -1)], dim=1)


def fill_motion(
    flow: Float[Tensor, "2 pair height width"], length: int
) -> Float[Tensor, "2 length height width"]:
    """Bring the flow of a clip to the clip's length.

    A whole clip lacks one field, its last is repeated; in a shorter video nothing moves after
    the last frame.
    """
    if flow.shape[1] == length - 1:
        return hold_last(flow, length)
    still = flow.new_zeros(2, length - flow.shape[1], *flow.shape[2:])
    return torch.cat([flow, still], dim=1)
