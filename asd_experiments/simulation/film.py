"""Filming a walk with a camera that stands still: frames, and the truth behind them.

Pixel i is centred on coordinate i, as optical flow counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Int, UInt8

from asd_experiments.simulation.figure import Piece
from asd_experiments.simulation.gait import GaitCycle, Part, Pose
from asd_experiments.simulation.room import Light

View = Literal["left_to_right", "right_to_left"]

_FINE = 3  # samples per pixel and axis; odd, so that one lies on the pixel's centre
_SUBPIXEL_BITS = 4
_BODY_LENGTH_M = 1.3  # from the hind toes to the fore toes of a long step
_NOISE_MARGIN = 32  # pixels; room to cut the noise at many places


@dataclass(frozen=True)
class Camera:
    """Where world metres fall in the picture; the walker's x runs towards the walking side."""

    width: int
    """Width of the picture, pixels."""

    height: int
    """Height of the picture, pixels."""

    scale_px_m: float
    """Pixels per metre."""

    floor_px: float
    """Pixel row of the walker's floor."""

    view: View
    """Walking direction in the picture."""

    @property
    def origin(self) -> Float[np.ndarray, "2"]:
        """Pixel of world (0, 0): the middle of the picture, on the floor."""
        return np.array([(self.width - 1) / 2, self.floor_px])

    @property
    def signs(self) -> Float[np.ndarray, "2"]:
        """Pixels per metre along world x and y."""
        side = 1.0 if self.view == "left_to_right" else -1.0
        return np.array([side * self.scale_px_m, -self.scale_px_m])

    def to_pixels(self, metres: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
        """Project world points."""
        return np.asarray(metres * self.signs + self.origin)

    def to_metres(self, pixels: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
        """Invert `to_pixels`."""
        return np.asarray((pixels - self.origin) / self.signs)


@dataclass(frozen=True)
class Walk:
    """Everything needed to film one walk."""

    cycle: GaitCycle
    """How the walker moves."""

    figure: list[Piece]
    """How the walker looks."""

    camera: Camera
    """Where the camera stands."""

    room: Float32[np.ndarray, "height width 3"]
    """What stands behind, RGB 0 to 255."""

    light: Light
    """Brightness and noise."""

    start_m: float
    """Where the hip would be at phase 0, metres right of the picture's middle (walking side)."""

    start_phase: float
    """Phase of the gait at the first frame."""

    frame_rate_hz: int
    """Frames per second."""

    num_frames: int
    """Length of the video."""

    noise_seed: tuple[int, ...]
    """Seed of the camera's noise."""

    def pose(self, frame: int) -> Pose:
        """Pose at a frame, in the camera's world; whoever has walked out enters again behind."""
        phase = self.start_phase + frame / self.frame_rate_hz / self.cycle.period_s
        pose = self.cycle.pose(phase)
        margin = self.camera.width / self.camera.scale_px_m / 2 + _BODY_LENGTH_M / 2
        hip = self.start_m + self.cycle.stride_m * phase
        laps = np.floor((hip + margin) / (2 * margin))
        pose.joint[:, 0] += self.start_m - 2 * margin * laps
        return pose


class Truth(NamedTuple):
    """What a frame really shows."""

    mask: Bool[np.ndarray, "height width"]
    """Pixels whose centre lies on the body."""

    box: Float32[np.ndarray, "4"]
    """x0, y0, x1, y1 of the mask, pixels, the far sides excluded; NaN where nobody is seen."""


def place_walk(
    rng: np.random.Generator, camera: Camera, cycle: GaitCycle, seconds: float
) -> tuple[float, float]:
    """Choose where a walk starts so that the walker stays in the picture.

    A walk that fits is put anywhere it fits; one a little too long is centred; a far longer one
    starts at the edge and crosses the picture again and again.

    Returns:
        `start_m` and `start_phase` of a `Walk`.
    """
    phase = float(rng.uniform())
    shift = float(rng.uniform(-0.5, 0.5))
    distance = cycle.stride_m * seconds / cycle.period_s
    wide = camera.width / camera.scale_px_m
    slack = wide - _BODY_LENGTH_M - distance
    first = -distance / 2 + shift * max(slack, 0.0)
    if slack < -_BODY_LENGTH_M / 2:
        first = -wide / 2 + _BODY_LENGTH_M / 2
    return first - cycle.stride_m * phase, phase


def film(walk: Walk) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Yield the frames, RGB; memory does not grow with the length of the video."""
    rng = np.random.default_rng(walk.noise_seed)
    height, width = walk.room.shape[:2]
    grain = (height + _NOISE_MARGIN, width + _NOISE_MARGIN, 3)
    noise = walk.light.noise * rng.standard_normal(grain, dtype=np.float32)
    for index in range(walk.num_frames):
        frame = draw_scene(walk, walk.pose(index))
        down, across = rng.integers(_NOISE_MARGIN, size=2)
        gain = walk.light.gain_at(index / walk.frame_rate_hz)
        here = noise[down : down + height, across : across + width]
        yield cv2.addWeighted(frame, gain, here, 1.0, 0.0, dtype=cv2.CV_8U)


def draw_scene(walk: Walk, pose: Pose) -> Float32[np.ndarray, "height width 3"]:
    """Draw room, shadow and walker in even light, RGB 0 to 255, without noise."""
    frame = walk.room.copy()
    _cast_shadow(frame, walk.camera, pose)
    _draw_walker(frame, walk, pose)
    return frame


def true_masks(walk: Walk) -> Iterator[Truth]:
    """Yield the exact body mask and its box for every frame."""
    for index in range(walk.num_frames):
        mask = part_map(walk, walk.pose(index)) >= 0
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.full(4, np.nan, dtype=np.float32)
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        yield Truth(mask, box)


def true_flows(walk: Walk) -> Iterator[Float16[np.ndarray, "height width 2"]]:
    """Yield the displacement to the next frame for every frame but the last.

    Every body pixel moves with the rigid part it shows; the background stands still.
    """
    for index in range(walk.num_frames - 1):
        now, then = walk.pose(index), walk.pose(index + 1)
        parts = part_map(walk, now)
        flow = np.zeros((*parts.shape, 2), dtype=np.float16)
        rows, columns = np.nonzero(parts >= 0)
        pixels = np.stack([columns, rows], axis=-1).astype(np.float64)
        moved = carry(walk.camera, pixels, parts[rows, columns].astype(np.int64), now, then)
        flow[rows, columns] = moved - pixels
        yield flow


def carry(
    camera: Camera,
    pixels: Float[np.ndarray, "point 2"],
    parts: Int[np.ndarray, " point"],
    now: Pose,
    then: Pose,
) -> Float[np.ndarray, "point 2"]:
    """Carry pixels along with the rigid parts they lie on, from one pose to another."""
    arm = camera.to_metres(pixels) - now.joint[parts]
    turn = (then.angle - now.angle)[parts]
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.stack([arm[:, 0] * cos - arm[:, 1] * sin, arm[:, 0] * sin + arm[:, 1] * cos], -1)
    return camera.to_pixels(then.joint[parts] + turned)


def part_map(walk: Walk, pose: Pose) -> Int[np.ndarray, "height width"]:
    """Return the part seen at every pixel's centre; -1 is background."""
    parts = np.full(walk.room.shape[:2], -1, dtype=np.int8)
    outlines = _project(walk, pose)
    window = _window(outlines, walk.camera)
    if window is None:
        return parts
    left, top, right, bottom = window
    canvas = np.zeros(((bottom - top) * _FINE, (right - left) * _FINE), dtype=np.uint8)
    for piece, outline in zip(walk.figure, _fine(outlines, left, top), strict=True):
        cv2.fillPoly(canvas, [outline], int(piece.part) + 1, cv2.LINE_8, _SUBPIXEL_BITS)
    centre = _FINE // 2
    parts[top:bottom, left:right] = canvas[centre::_FINE, centre::_FINE].astype(np.int8) - 1
    return parts


def _project(walk: Walk, pose: Pose) -> list[Float[np.ndarray, "_ 2"]]:
    """Outlines of all pieces in pixels."""
    sizes = [len(piece.outline) for piece in walk.figure]
    parts = np.repeat([int(piece.part) for piece in walk.figure], sizes)
    x, y = np.concatenate([piece.outline for piece in walk.figure]).T
    cos, sin = np.cos(pose.angle)[parts], np.sin(pose.angle)[parts]
    turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
    pixels = walk.camera.to_pixels(turned + pose.joint[parts])
    return np.split(pixels, np.cumsum(sizes)[:-1])


def _window(
    outlines: list[Float[np.ndarray, "_ 2"]], camera: Camera
) -> tuple[int, int, int, int] | None:
    """Whole pixels around the walker, cut to the picture; None when nobody is in it."""
    points = np.concatenate(outlines)
    left, top = np.maximum(np.floor(points.min(axis=0)) - 1, 0).astype(int).tolist()
    limit = [camera.width, camera.height]
    right, bottom = np.minimum(np.ceil(points.max(axis=0)) + 2, limit).astype(int).tolist()
    return (left, top, right, bottom) if right > left and bottom > top else None


def _fine(
    outlines: list[Float[np.ndarray, "_ 2"]], left: int, top: int
) -> list[Int[np.ndarray, "_ 2"]]:
    """Outlines on the fine canvas, in OpenCV's fixed-point numbers."""
    centre = _FINE // 2
    unit = 1 << _SUBPIXEL_BITS
    origin = np.array([left, top])
    return [
        np.round(((outline - origin) * _FINE + centre) * unit).astype(np.int32)
        for outline in outlines
    ]


def _draw_walker(frame: Float32[np.ndarray, "height width 3"], walk: Walk, pose: Pose) -> None:
    """Draw the figure finely with an alpha channel, shrink it and lay it on the frame."""
    outlines = _project(walk, pose)
    window = _window(outlines, walk.camera)
    if window is None:
        return
    left, top, right, bottom = window
    canvas = np.zeros(((bottom - top) * _FINE, (right - left) * _FINE, 4), dtype=np.uint8)
    for piece, outline in zip(walk.figure, _fine(outlines, left, top), strict=True):
        cv2.fillPoly(canvas, [outline], (*piece.colour, 255.0), cv2.LINE_8, _SUBPIXEL_BITS)
    small = cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    behind = frame[top:bottom, left:right]
    behind *= 1 - small[..., 3:].astype(np.float32) / 255
    behind += small[..., :3]


def _cast_shadow(frame: Float32[np.ndarray, "height width 3"], camera: Camera, pose: Pose) -> None:
    """Darken the floor softly under the body, and more under a foot that is down."""
    near, far = Part.NEAR_FOOT, Part.FAR_FOOT
    spots = [
        (pose.joint[Part.ABDOMEN, 0], 0.42, 0.18),
        (pose.joint[near, 0] + 0.05, 0.13, 0.35 * np.exp(-8 * (pose.joint[near, 1] - 0.06))),
        (pose.joint[far, 0] + 0.05, 0.13, 0.30 * np.exp(-8 * (pose.joint[far, 1] - 0.06))),
    ]
    top = int(camera.floor_px - 0.12 * camera.scale_px_m)
    bottom = min(int(camera.floor_px + 0.12 * camera.scale_px_m), camera.height)
    rows, columns = np.arange(top, bottom), np.arange(camera.width)
    dark = np.zeros((len(rows), len(columns)), dtype=np.float32)
    for x_m, reach_m, strength in spots:
        centre = camera.to_pixels(np.array([[x_m, 0.0]]))[0]
        reach = reach_m * camera.scale_px_m
        along = np.exp(-0.5 * ((columns - centre[0]) / (0.6 * reach)) ** 2)
        depth = np.exp(-0.5 * ((rows - centre[1]) / (0.025 * camera.scale_px_m)) ** 2)
        dark += (min(float(strength), 0.4) * np.outer(depth, along)).astype(np.float32)
    frame[top:bottom] *= (1 - np.minimum(dark, 0.7))[..., None]
