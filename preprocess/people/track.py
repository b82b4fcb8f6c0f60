"""One person's path through a video, linked from what a finder saw in single frames."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, UInt8

from asd_experiments.data.store import Presence
from preprocess.decode import VideoError

_LONGEST_GAP_SECONDS = 0.6
_SHORTEST_WALK_SECONDS = 0.5
_STANDING_SHARE = 0.25  # worth of a body that stays where it is, relative to one that walks
_LARGEST_STEP = 0.5  # of the body's height, from where it is expected
_BORDER_PX = 1.5


class PersonNotFoundError(VideoError):
    """Nobody was found in a video, or not for long enough."""


class Detection(NamedTuple):
    """Something in one frame that may be the person."""

    box: Float32[np.ndarray, " 4"]
    """x0, y0, x1, y1, source pixels."""

    score: float
    """The larger, the more likely the person: a detector's score, or the share of the picture."""


@dataclass(frozen=True)
class Track:
    """Where the patient is in a video, in stretches of consecutive frames."""

    frames: Int[np.ndarray, " time"]
    """Numbers of the frames in the video, ascending, counted from 0."""

    boxes: Float32[np.ndarray, "time 4"]
    """x0, y0, x1, y1 around the body in every frame, source pixels; gaps are interpolated."""

    presence: UInt8[np.ndarray, " source_time"]
    """What is known of every frame of the video, see `Presence`."""

    num_people: int
    """People seen for long enough to be followed, the patient among them."""

    num_switches: int
    """Times that the patient was mistaken for another body and found again."""

    @property
    def stretches(self) -> list[slice]:
        """Places on the track whose frames follow each other in the video."""
        starts = np.flatnonzero(np.diff(self.frames, prepend=-2) != 1).tolist()
        return [slice(*ends) for ends in pairwise([*starts, len(self.frames)])]


@dataclass
class _Path:
    """Detections linked so far."""

    numbers: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    score: float = 0.0

    def append(self, number: int, detection: Detection) -> None:
        self.numbers.append(number)
        self.boxes.append(detection.box)
        self.score += detection.score

    def distance(self, number: int, box: np.ndarray) -> float:
        """Distance of a box from where this path should be, in body heights."""
        last = self.boxes[-1]
        expected = _centre(last) + self._speed() * (number - self.numbers[-1])
        height = max(last[3] - last[1], box[3] - box[1])
        return float(np.linalg.norm(_centre(box) - expected) / height)

    def worth(self) -> float:
        """Sum of scores; a body that goes somewhere counts for more than one that stays."""
        boxes = np.stack(self.boxes)
        low, high = np.quantile((boxes[:, :2] + boxes[:, 2:]) / 2, [0.05, 0.95], axis=0)
        height = np.median(boxes[:, 3] - boxes[:, 1])
        going = min(1.0, float(np.linalg.norm(high - low) / height))
        return self.score * (_STANDING_SHARE + (1 - _STANDING_SHARE) * going)

    def _speed(self) -> np.ndarray:
        """Pixels per frame over the last few detections."""
        recent = slice(-6, None)
        numbers, boxes = self.numbers[recent], self.boxes[recent]
        if len(numbers) < 4:
            return np.zeros(2)
        step: np.ndarray = _centre(boxes[-1]) - _centre(boxes[0])
        return step / (numbers[-1] - numbers[0])


def follow(frames: Iterable[Sequence[Detection]], *, frame_rate_hz: float, width: int) -> Track:
    """Link detections into paths over time and keep the person's.

    The person is the path with the largest sum of scores, which is the largest body that is seen
    longest, walking before standing. Gaps of about half a second are bridged. Frames at either
    end in which the left or right border of the picture cuts the body are left out: the person is
    still walking in.

    Args:
        frames: Detections in every frame of the video.
        frame_rate_hz: Frames per second.
        width: Width of the picture, pixels.

    Raises:
        PersonNotFoundError: If there is no path of half a second.
    """
    longest_gap = max(1, round(_LONGEST_GAP_SECONDS * frame_rate_hz))
    shortest = max(2, round(_SHORTEST_WALK_SECONDS * frame_rate_hz))
    going_on: list[_Path] = []
    ended: list[_Path] = []
    num_frames = 0
    for number, detections in enumerate(frames):
        num_frames = number + 1
        ended += [path for path in going_on if number - path.numbers[-1] > longest_gap]
        ended = [path for path in ended if len(path.numbers) >= shortest]
        going_on = [path for path in going_on if number - path.numbers[-1] <= longest_gap]
        _extend(going_on, number, detections)
    long_enough = [path for path in [*ended, *going_on] if len(path.numbers) >= shortest]
    if not long_enough:
        raise PersonNotFoundError(f"no person found in {shortest} frames that follow each other")
    return _track(
        max(long_enough, key=_Path.worth),
        num_frames=num_frames,
        num_people=len(long_enough),
        width=width,
        shortest=shortest,
    )


def _extend(paths: list[_Path], number: int, detections: Sequence[Detection]) -> None:
    """Give every detection to the nearest path, nearest pairs first; the others open paths."""
    pairs = sorted(
        (path.distance(number, detection.box), p, d)
        for p, path in enumerate(paths)
        for d, detection in enumerate(detections)
    )
    taken_paths: set[int] = set()
    taken: set[int] = set()
    for distance, p, d in pairs:
        if distance <= _LARGEST_STEP and p not in taken_paths and d not in taken:
            paths[p].append(number, detections[d])
            taken_paths.add(p)
            taken.add(d)
    for d, detection in enumerate(detections):
        if d not in taken:
            paths.append(_Path())
            paths[-1].append(number, detection)


def _interpolate(path: _Path) -> tuple[np.ndarray, np.ndarray]:
    every = np.arange(path.numbers[0], path.numbers[-1] + 1)
    seen = np.stack(path.boxes)
    boxes = np.stack([np.interp(every, path.numbers, edge) for edge in seen.T], axis=1)
    return every, boxes.astype(np.float32)


def _track(path: _Path, *, num_frames: int, num_people: int, width: int, shortest: int) -> Track:
    """Leave out the frames at both ends in which a side of the picture cuts the body."""
    frames, boxes = _interpolate(path)
    presence = np.full(num_frames, Presence.ABSENT, np.uint8)
    presence[frames] = Presence.BRIDGED
    presence[path.numbers] = Presence.SEEN
    inside = (boxes[:, 0] > _BORDER_PX) & (boxes[:, 2] < width - _BORDER_PX)
    whole = np.flatnonzero(inside)
    if len(whole) >= shortest:
        presence[frames[: whole[0]]] = presence[frames[whole[-1] + 1 :]] = Presence.LEFT_OUT
        kept = slice(int(whole[0]), int(whole[-1]) + 1)
        frames, boxes = frames[kept], boxes[kept]
    return Track(frames, boxes, presence, num_people, 0)


def _centre(box: np.ndarray) -> np.ndarray:
    centre: np.ndarray = (box[:2] + box[2:]) / 2
    return centre
