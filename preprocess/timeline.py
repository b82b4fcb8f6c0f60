"""Where the crop went and when the patient was seen, as shapes on a time axis."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8
from matplotlib.ticker import MaxNLocator

from asd_experiments.data.store_layout import Presence

LEFT, RIGHT, WIDTH = 62.0, 18.0, 900.0
PANEL_HEIGHT, PANEL_GAP, STRIP_HEIGHT = 62.0, 26.0, 16.0
_MOST_POINTS = 200  # of a line: more cannot be told apart
_LEAST_RANGE = 0.2  # of the crop's side: a steady crop shall look steady


class Panel(NamedTuple):
    """One curve over time."""

    title: str
    top: float
    lines: list[str]
    """Points of one line per stretch, as SVG writes them."""

    ticks: list[tuple[float, str]]
    """Height and text of the values on the axis."""


class Timeline(NamedTuple):
    """Everything a drawing of one video needs; lengths are in units of the drawing."""

    panels: list[Panel]
    presence: list[tuple[float, float, Presence]]
    """Left end, width and meaning of every part of the strip."""

    strip_top: float
    seconds: list[tuple[float, str]]
    """Place and text of the values on the time axis."""

    height: float


def timeline(
    windows: Float32[np.ndarray, "time 4"],
    stretches: Sequence[Sequence[int]],
    presence: UInt8[np.ndarray, " source_time"],
    frame_rate_hz: float,
) -> Timeline:
    """Lay out the path of the crop and the presence of the patient in one video.

    Args:
        windows: Crop windows of the stored frames, source pixels.
        stretches: First source frame and number of frames of every stretch.
        presence: What is known of every source frame, see `Presence`.
        frame_rate_hz: Frames per second.
    """
    side = windows[:, 2] - windows[:, 0]
    least_range = _LEAST_RANGE * float(np.median(side))
    curves = {
        "Centre of the crop, pixels from the left": (windows[:, 0] + windows[:, 2]) / 2,
        "Centre of the crop, pixels from the top": -(windows[:, 1] + windows[:, 3]) / 2,
        "Side of the crop, pixels": side,
    }
    panels = [
        _panel(title, number, values.astype(float), stretches, len(presence), least_range)
        for number, (title, values) in enumerate(curves.items())
    ]
    strip_top = len(panels) * (PANEL_HEIGHT + PANEL_GAP) + PANEL_GAP - 6
    duration = len(presence) / frame_rate_hz
    seconds = [
        (_x(tick * frame_rate_hz, len(presence)), f"{tick:g} s")
        for tick in MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, duration)
        if 0 <= tick <= duration
    ]
    height = strip_top + STRIP_HEIGHT + 20
    return Timeline(panels, list(_runs(presence)), strip_top, seconds, height)


def _panel(
    title: str,
    number: int,
    values: Float[np.ndarray, " time"],
    stretches: Sequence[Sequence[int]],
    source_frames: int,
    least_range: float,
) -> Panel:
    top = PANEL_GAP + number * (PANEL_HEIGHT + PANEL_GAP)
    middle, half = (values.max() + values.min()) / 2, np.ptp(values) / 2
    half = 1.1 * max(half, least_range / 2)
    low, high = middle - half, middle + half

    def y(value: float) -> float:
        return round(float(top + PANEL_HEIGHT * (high - value) / (high - low)), 1)

    ticks = [
        (y(tick), f"{abs(tick):g}")
        for tick in MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(low, high)
        if low <= tick <= high
    ]
    lines, start = [], 0
    for first, length in stretches:
        places = np.linspace(0, length - 1, min(length, _MOST_POINTS)).round().astype(int).tolist()
        points = [f"{_x(first + p + 0.5, source_frames)},{y(values[start + p])}" for p in places]
        lines.append(" ".join(points))
        start += length
    return Panel(title, top, lines, ticks)


def _runs(presence: UInt8[np.ndarray, " source_time"]) -> Iterator[tuple[float, float, Presence]]:
    changes = np.flatnonzero(np.diff(presence)) + 1
    for start, stop in pairwise([0, *changes.tolist(), len(presence)]):
        left, right = _x(start, len(presence)), _x(stop, len(presence))
        yield left, round(right - left, 1), Presence(int(presence[start]))


def _x(frame: int | float, source_frames: int) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * frame / source_frames, 1)
