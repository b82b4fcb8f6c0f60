"""Figures that say how well a stored video suits its purpose, measured from the clip store."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from asd_experiments.data.array_writer import CHUNK_FRAMES
from asd_experiments.data.store import ClipStore

_FLOW_STEP = 2  # flow is read at every second pixel along each axis


@dataclass(frozen=True, config=ConfigDict(use_attribute_docstrings=True))
class Figures:
    """Figures of one stored video; a column of the quality table each."""

    key: str
    """The video's key in the store."""

    row: int
    """Line of the labels file that names the video; line 1 holds the column names."""

    label: str
    """The patient's class."""

    duration_seconds: float
    """Length of the source video, seconds."""

    frame_rate_hz: float
    """Frames per second."""

    source_width: int
    """Width of the source's pictures, pixels."""

    source_height: int
    """Height of the source's pictures, pixels."""

    num_frames: int
    """Stored frames."""

    num_stretches: int
    """Stretches of consecutive stored frames."""

    longest_seconds: float
    """Length of the longest stretch, seconds."""

    person_share: float
    """Share of the source's frames in which the person was found, 0 to 1."""

    bridged_share: float
    """Share of the stored frames in which the person was interpolated, 0 to 1."""

    num_people: int
    """People seen for long enough to be followed, the patient among them."""

    num_switches: int
    """Times that the patient's box changed its size too suddenly for a body: it held another body
    or a shadow as well, or a part of the patient. Such frames are not stored as seen."""

    crop_side_px: float
    """Median side of the crop window, source pixels."""

    enlargement: float
    """Side of the stored frames over the side of the crop window: above 1, detail is missing."""

    crop_jitter: float
    """Unsteadiness of the crop's path: RMS of the second difference of its centre per frame, as a
    share of the crop's side."""

    mask_share: float
    """Share of the crop that the body mask covers, median over frames, 0 to 1."""

    mask_share_min: float
    """The same in the frame with the smallest mask."""

    mask_flicker: float
    """Change of the mask's area from frame to frame as a share of the area, mean over frames."""

    mask_cut_share: float
    """Share of the frames in which the mask touches the border of the crop, 0 to 1."""

    body_flow_px: float
    """Median speed of the stored flow inside the mask, stored pixels per frame; nan: no mask."""

    surroundings_flow_px: float
    """Median speed outside the mask that the crop's own movement does not explain, stored pixels
    per frame: near 0 where the camera stands still; nan: the mask fills the crop."""


def describe(name: str) -> str:
    """What a column of the quality table holds.

    Args:
        name: A field of `Figures`.
    """
    description: str = Figures.__pydantic_fields__[name].description or ""  # type: ignore[attr-defined]
    return " ".join(description.split())


class _Masks(NamedTuple):
    """What is kept of every frame's mask."""

    area: Float[np.ndarray, " time"]
    """Share of the crop that is covered."""

    cut: Bool[np.ndarray, " time"]
    """Whether the mask touches the crop's border."""


def quality_figures(store: ClipStore, rows: Sequence[int]) -> Iterator[Figures]:
    """Measure every video of a store, one after the other, a few frames in memory at a time.

    Args:
        store: A finished clip store.
        rows: Line of the labels file of every video, in the order of the store's index.
    """
    for row, facts in zip(rows, store.videos.to_dict("records"), strict=True):
        yield _video_figures(store, row, facts)


def stored_stretches(facts: Mapping[Any, Any]) -> list[slice]:
    """Places in a stored video whose frames follow each other in the source.

    Args:
        facts: The video's record in the store's index.
    """
    ends = np.cumsum([0, *(length for _, length in facts["stretches"])]).tolist()
    return [slice(*pair) for pair in pairwise(ends)]


def source_frames(facts: Mapping[Any, Any]) -> Int[np.ndarray, " time"]:
    """Number of every stored frame in the source video, counted from 0.

    Args:
        facts: The video's record in the store's index.
    """
    return np.concatenate([np.arange(first, first + n) for first, n in facts["stretches"]])


_COPIED = (
    "frame_rate_hz",
    "source_width",
    "source_height",
    "num_frames",
    "person_share",
    "bridged_share",
    "num_people",
    "num_switches",
)


def _video_figures(store: ClipStore, row: int, facts: Mapping[Any, Any]) -> Figures:
    key, rate_hz, windows = facts["key"], facts["frame_rate_hz"], store.track(facts["key"])
    stretches = stored_stretches(facts)
    side_px = float(np.median(windows[:, 2] - windows[:, 0]))
    masks, body_flow_px, surroundings_flow_px = _read_through(store, key, windows, stretches)
    return Figures(
        key=key,
        row=row,
        label=str(facts["label"]),
        duration_seconds=facts["source_frames"] / rate_hz,
        num_stretches=len(stretches),
        longest_seconds=max(s.stop - s.start for s in stretches) / rate_hz,
        crop_side_px=side_px,
        enlargement=store.size / side_px,
        crop_jitter=crop_jitter(windows, stretches),
        mask_share=float(np.median(masks.area)),
        mask_share_min=float(masks.area.min()),
        mask_flicker=mask_flicker(masks.area, stretches),
        mask_cut_share=float(masks.cut.mean()),
        body_flow_px=body_flow_px,
        surroundings_flow_px=surroundings_flow_px,
        **{name: facts[name] for name in _COPIED},
    )


def crop_jitter(windows: Float32[np.ndarray, "time 4"], stretches: Sequence[slice]) -> float:
    """RMS of the second difference of the crop's centre, as a share of the crop's side."""
    centres = (windows[:, :2] + windows[:, 2:]) / 2
    sides = windows[:, 2] - windows[:, 0]
    bends = [np.diff(centres[s], 2, axis=0) / sides[s][2:, None] for s in stretches]
    squares = (np.concatenate(bends) ** 2).sum(axis=1)
    return float(np.sqrt(squares.mean())) if len(squares) else 0.0


def mask_flicker(area: Float[np.ndarray, " time"], stretches: Sequence[slice]) -> float:
    """Mean change of a mask's area from one frame to the next, as a share of the larger one."""
    changes = [
        abs(after - before) / max(after, before, 1e-9)
        for stretch in stretches
        for before, after in pairwise(area[stretch].tolist())
    ]
    return float(np.mean(changes)) if changes else 0.0


def window_flow(
    windows: Float32[np.ndarray, "time 4"], size: int, step: int = 1
) -> Float32[np.ndarray, "pairs height width 2"]:
    """Flow that a scene at rest has in the crops, because the crop window moves and grows.

    Args:
        windows: Crop window of consecutive frames, source pixels.
        size: Side of the stored frames, pixels.
        step: Give it at every `step`-th pixel along each axis.

    Returns:
        Flow, stored pixels per frame.
    """
    pixel = np.arange(0, size, step) + 0.5
    scale = (windows[:, 2] - windows[:, 0])[:, None] / size
    now, later = windows[:-1], windows[1:]
    axes = [
        (now[:, axis, None] + pixel * scale[:-1] - later[:, axis, None]) / scale[1:] - pixel
        for axis in (0, 1)
    ]
    x, y = np.broadcast_arrays(axes[0][:, None, :], axes[1][:, :, None])
    return np.stack([x, y], axis=-1).astype(np.float32)


def _read_through(
    store: ClipStore,
    key: str,
    windows: Float32[np.ndarray, "time 4"],
    stretches: Sequence[slice],
) -> tuple[_Masks, float, float]:
    """Masks of all frames, and median speeds inside and outside them.

    Flow is read chunk by chunk, so that no chunk is decoded twice: of 16 fields, 15.
    """
    areas, cuts, body, surroundings = [], [], [], []
    for stretch in stretches:
        for start, stop in _chunks(stretch):
            frames = store.read(key, start, stop)
            areas.append(frames.mask.mean(axis=(1, 2)))
            cuts.append(_touches_border(frames.mask))
            flow, mask = (a[:, ::_FLOW_STEP, ::_FLOW_STEP] for a in (frames.flow, frames.mask[:-1]))
            at_rest = window_flow(windows[start:stop], store.size, _FLOW_STEP)
            speed = _speed(flow)
            body += _medians(speed, mask == 1)
            # A plain wall shows no flow at all, however the crop moves over it.
            surroundings += _medians(np.minimum(speed, _speed(flow - at_rest)), mask == 0)
    masks = _Masks(np.concatenate(areas), np.concatenate(cuts))
    return masks, _median(body), _median(surroundings)


def _chunks(stretch: slice) -> Iterator[tuple[int, int]]:
    """The parts of a stretch that lie in one chunk of the store each."""
    start = stretch.start
    while start < stretch.stop:
        stop = min((start // CHUNK_FRAMES + 1) * CHUNK_FRAMES, stretch.stop)
        yield start, stop
        start = stop


def _speed(
    flow: Float32[np.ndarray, "pairs height width 2"],
) -> Float32[np.ndarray, "pairs height width"]:
    speed: np.ndarray = np.hypot(flow[..., 0], flow[..., 1])
    return speed


def _medians(
    speed: Float32[np.ndarray, "pairs height width"],
    where: Bool[np.ndarray, "pairs height width"],
) -> list[float]:
    """Median of every field over the chosen pixels; fields without any are left out."""
    return [
        float(np.median(field[chosen]))
        for field, chosen in zip(speed, where, strict=True)
        if chosen.any()
    ]


def _touches_border(mask: UInt8[np.ndarray, "time size size"]) -> Bool[np.ndarray, " time"]:
    edges = np.concatenate([mask[:, [0, -1], :], mask[:, :, [0, -1]].swapaxes(1, 2)], axis=1)
    return np.asarray(edges.any(axis=(1, 2)))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")
