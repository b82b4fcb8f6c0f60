"""What a perfect preprocessing would have stored, from the truth beside a simulated video."""

from pathlib import Path
from typing import NamedTuple

import numpy as np


class Truth(NamedTuple):
    mask: np.ndarray  # bool [time, height, width]
    box: np.ndarray  # float [time, 4]
    flow: np.ndarray  # float [time - 1, height, width, 2]


def read_truth(path: Path) -> Truth:
    with np.load(path) as arrays:
        return Truth(arrays["mask"], arrays["box"], arrays["flow"].astype(np.float32))


def grid(window: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Source x and y of every pixel centre of a crop; pixel i reaches from i to i + 1."""
    steps = (np.arange(size) + 0.5) / size
    x = window[0] + steps * (window[2] - window[0])
    y = window[1] + steps * (window[3] - window[1])
    return np.meshgrid(x, y)


def in_crop(picture: np.ndarray, window: np.ndarray, size: int) -> np.ndarray:
    """Nearest truth pixel of every crop pixel; zero beyond the picture."""
    x, y = (np.floor(axis).astype(int) for axis in grid(window, size))
    height, width = picture.shape[:2]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = picture[y.clip(0, height - 1), x.clip(0, width - 1)]
    return np.where(inside.reshape(*inside.shape, *[1] * (picture.ndim - 2)), found, 0)


def flow_in_crops(flow: np.ndarray, before: np.ndarray, after: np.ndarray, size: int) -> np.ndarray:
    """Flow between two crops with a window each: where a pixel lands, minus where it was."""
    x, y = grid(before, size)
    moved = in_crop(flow, before, size)
    landed_x = (x + moved[..., 0] - after[0]) / (after[2] - after[0]) * size
    landed_y = (y + moved[..., 1] - after[1]) / (after[3] - after[1]) * size
    was = np.arange(size) + 0.5
    return np.stack([landed_x - was[None, :], landed_y - was[:, None]], axis=-1)


def intersection_over_union(one: np.ndarray, other: np.ndarray) -> float:
    union = np.logical_or(one, other).sum()
    return float(np.logical_and(one, other).sum() / union) if union else 1.0
