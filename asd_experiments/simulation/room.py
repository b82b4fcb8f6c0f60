"""The room behind the walker: a still picture of wall, floor, door and pictures."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32

HORIZON = 0.70
"""Where the wall meets the floor, share of the picture's height from the top."""


@dataclass(frozen=True)
class Light:
    """How bright a video is, how that drifts, and the camera's noise."""

    gain: float
    """Brightness, 1 is as painted."""

    drift: float
    """Size of the slow drift, share of the brightness."""

    drift_period_s: float
    """Seconds per wave of the drift."""

    noise: float
    """Standard deviation of the camera's noise, grey levels of 255."""

    def gain_at(self, time_s: float) -> float:
        """Brightness at a time."""
        wave = np.sin(2 * np.pi * time_s / self.drift_period_s)
        return float(self.gain * (1 + self.drift * wave))


def draw_light(rng: np.random.Generator) -> Light:
    """Draw the light of one video at random; independent of the class."""
    return Light(
        gain=float(rng.uniform(0.85, 1.1)),
        drift=float(rng.uniform(0.0, 0.03)),
        drift_period_s=float(rng.uniform(4, 12)),
        noise=float(rng.uniform(1.5, 4.0)),
    )


def paint_room(
    rng: np.random.Generator, height: int, width: int
) -> Float32[np.ndarray, "height width 3"]:
    """Paint a room at random; the same draws give the same room at every size.

    Args:
        rng: Source of randomness; independent of the class.
        height: Height of the picture, pixels.
        width: Width of the picture, pixels.

    Returns:
        RGB, 0 to 255.
    """
    wall = rng.uniform(130, 225) * (0.85 + 0.15 * 3 * rng.dirichlet([12, 12, 12]))
    floor = rng.uniform(80, 165) * (0.8 + 0.2 * 3 * rng.dirichlet([9, 8, 7]))
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    down, across = down / height, across / width
    side, depth = rng.uniform(-0.12, 0.12), rng.uniform(-0.10, 0.10)
    room = wall * (1 + side * (across - 0.5) + depth * (down - 0.5))[..., None]
    below = np.clip((down - HORIZON) / (1 - HORIZON), 0, 1)
    room = np.where((down > HORIZON)[..., None], floor * (0.85 + 0.25 * below)[..., None], room)
    room = np.ascontiguousarray(room, dtype=np.float32)
    _paint_skirting(room, wall)
    _paint_door(rng, room)
    _paint_pictures(rng, room)
    room *= _texture(rng, height, width)[..., None]
    return np.clip(cv2.GaussianBlur(room, (0, 0), height / 500), 0, 255)


def _rectangle(
    room: Float32[np.ndarray, "height width 3"],
    corner: tuple[float, float],
    size: tuple[float, float],
    colour: Float[np.ndarray, "3"],
) -> None:
    """Fill a rectangle; corner (x, y) and size are shares of the picture."""
    height, width = room.shape[:2]
    top, left = round(corner[1] * height), round(corner[0] * width)
    bottom, right = top + round(size[1] * height), left + round(size[0] * width)
    room[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = colour


def _paint_skirting(
    room: Float32[np.ndarray, "height width 3"], wall: Float[np.ndarray, "3"]
) -> None:
    _rectangle(room, (0.0, HORIZON - 0.025), (1.0, 0.025), wall * 0.8)
    _rectangle(room, (0.0, HORIZON), (1.0, 0.008), wall * 0.45)


def _paint_door(rng: np.random.Generator, room: Float32[np.ndarray, "height width 3"]) -> None:
    """A door with a frame and a handle, in two rooms of three."""
    colour = rng.uniform(70, 215) * (0.8 + 0.2 * 3 * rng.dirichlet([4, 3, 2]))
    left, top = rng.uniform(-0.05, 0.9), rng.uniform(0.10, 0.2)
    if rng.uniform() > 2 / 3:
        return
    _rectangle(room, (left - 0.01, top - 0.018), (0.16, HORIZON - top + 0.018), colour * 0.7)
    _rectangle(room, (left, top), (0.14, HORIZON - top), colour)
    _rectangle(room, (left + 0.12, top + 0.30), (0.012, 0.012), np.full(3, 60.0))


def _paint_pictures(rng: np.random.Generator, room: Float32[np.ndarray, "height width 3"]) -> None:
    """Up to three framed pictures or cupboards on the wall."""
    for _ in range(int(rng.integers(0, 4))):
        left, top = rng.uniform(0, 0.95), rng.uniform(0.02, 0.35)
        wide, high = rng.uniform(0.05, 0.16), rng.uniform(0.08, 0.25)
        colour = rng.uniform(60, 230) * (0.75 + 0.25 * 3 * rng.dirichlet([5, 5, 5]))
        _rectangle(room, (left, top), (wide, high), colour * 0.55)
        _rectangle(room, (left + 0.006, top + 0.01), (wide - 0.012, high - 0.02), colour)


def _texture(
    rng: np.random.Generator, height: int, width: int
) -> Float32[np.ndarray, "height width"]:
    """Uneven paint: blotches of a few sizes around 1."""
    texture = np.ones((height, width), dtype=np.float32)
    for cells, strength in ((3, 0.015), (24, 0.008), (90, 0.010)):
        grid = rng.standard_normal((cells, 2 * cells)).astype(np.float32)
        texture += strength * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return texture
