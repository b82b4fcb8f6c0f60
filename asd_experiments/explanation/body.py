"""Which part of the body a map lies on, and how much it would by chance."""

from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8

from asd_experiments.data.resizing import resize
from asd_experiments.data.transforms import hold_last
from asd_experiments.explanation.saliency import Map

Part = Literal["head_and_shoulders", "trunk", "legs"]
PARTS: tuple[Part, ...] = get_args(Part)

Region = Literal["body", "head_and_shoulders", "trunk", "legs"]
REGIONS: tuple[Region, ...] = get_args(Region)


Coverage = dict[Region, Float[np.ndarray, "time height width"]]
"""How much of every pixel of the network's input lies in a region, 0 to 1."""


class Share(NamedTuple):
    """How much of a map lies in a region."""

    saliency: float
    """Of the map's sum; nan where the map is 0 everywhere."""

    area: float
    """Of the clip's pixels: what a map without preference has."""


def coverage_by_source(
    masks: UInt8[np.ndarray, "frame size size"], *, clip_length: int, size: int
) -> dict[str, Coverage]:
    """Where the body is for what a map can explain: `appearance`, `motion` and `joint`.

    Flow leads from one frame to the next: motion has the masks of all frames but the last.

    Args:
        masks: Stored masks of the clip's frames, at least two.
        clip_length: See `body_coverage`.
        size: See `body_coverage`.
    """
    pictures = body_coverage(masks, clip_length=clip_length, size=size)
    motion = body_coverage(masks[:-1], clip_length=clip_length, size=size)
    return {"appearance": pictures, "motion": motion, "joint": pictures}


def body_coverage(
    masks: UInt8[np.ndarray, "frame size size"], *, clip_length: int, size: int
) -> Coverage:
    """How much of every pixel of the network's input is body, and which third of the body.

    The thirds are those of the mask's vertical extent in each frame, which is what they are named
    after: a raised arm or a bent trunk moves them.

    Args:
        masks: Stored masks of the clip's frames.
        clip_length: Frames of the network's input; the last mask stands for those that lack one.
        size: Side of the network's input, pixels.

    Returns:
        Share of each pixel, 0 to 1; the thirds add up to the body.
    """
    parts = torch.from_numpy(_thirds(masks)).float()
    fine = hold_last(resize(parts, size), clip_length).numpy()
    by_part = dict(zip(PARTS, fine, strict=True))
    return {"body": fine.sum(axis=0), **by_part}


def _thirds(
    masks: UInt8[np.ndarray, "frame size size"],
) -> UInt8[np.ndarray, "3 frame size size"]:
    rows = np.asarray(masks.any(axis=2))
    top = rows.argmax(axis=1)
    bottom = rows.shape[1] - rows[:, ::-1].argmax(axis=1)
    row = np.arange(rows.shape[1])
    place = (row + 0.5 - top[:, None]) / (bottom - top)[:, None]
    third = np.floor(3 * place)[:, :, None]
    return np.stack([masks * (third == part) for part in range(len(PARTS))]).astype(np.uint8)


def shares(values: Map, coverage: Coverage) -> dict[Region, Share]:
    """How much of a map lies on the body and on its thirds.

    Args:
        values: The map.
        coverage: From `body_coverage`, on the map's grid.
    """
    total = float(values.sum(dtype=np.float64))
    return {
        region: Share(
            saliency=float((values * pixels).sum(dtype=np.float64)) / total if total else np.nan,
            area=float(pixels.mean(dtype=np.float64)),
        )
        for region, pixels in coverage.items()
    }
