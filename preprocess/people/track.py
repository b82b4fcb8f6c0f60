"""The patient's path through a video, linked from what a finder saw in single frames.

Detections are linked into paths. The patient is the body that walks: the path that goes farthest,
not the largest box. Where the same body comes back later, its paths are stretches of one track.

The thresholds are chosen by hand; `tests/preprocess/people/test_track.py` and, on real videos,
`tests/preprocess/test_real.py` hold what they are to do.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from scipy.ndimage import median_filter, uniform_filter1d

from asd_experiments.data.store_layout import Presence
from preprocess.decode import VideoError

_LONGEST_GAP_SECONDS = 0.6
_SHORTEST_WALK_SECONDS = 0.5
_LARGEST_STEP = 0.5  # of the body's height, from where it is expected
_HEIGHT_WEIGHT = 1.0  # body heights of a step that count as much as an e-fold height
_PART_SHARE = 0.5  # of a detection's area inside the expected body makes it a part of the body
_WHOLE_SHARE = 0.8  # of an expected body inside a larger box makes it a part of that body
_STRANGE_HEIGHT = 0.3  # change of a body's height against the second around it, as a share
_STRANGE_WIDTH = 1.15  # of the body's height: two bodies, or a body and its shadow
_WALKING = 0.5  # body heights that a body has to go to be walking
_OTHER_HEIGHT = 1.5  # the same body is never as many times as tall in another stretch
_SAME_PLACE = 1.0  # body heights between where a body is lost and where it is found again
_NEAR_BORDER = 0.25  # of the body's height: a body that is lost or found here goes out or comes in
_BORDER_SHARE = 0.02  # of the body's height: nearer to the picture's border the body is cut


class PersonNotFoundError(VideoError):
    """Nobody was found in a video, or not for long enough."""


class Detection(NamedTuple):
    """Something in one frame that may be the person."""

    box: Float32[np.ndarray, " 4"]
    """x0, y0, x1, y1, source pixels."""


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
    """Times that the patient's box changed its size too suddenly for a body: it held another body
    or a shadow as well, or a part of the patient. Such frames are not stored as seen."""

    @property
    def stretches(self) -> list[slice]:
        """Places on the track whose frames follow each other in the video."""
        starts = np.flatnonzero(np.diff(self.frames, prepend=-2) != 1).tolist()
        return [slice(*ends) for ends in pairwise([*starts, len(self.frames)])]


@dataclass(frozen=True)
class _Scale:
    """What the rules above mean in one video."""

    width: int
    longest_gap: int
    shortest_walk: int
    second: int


@dataclass
class _Growing:
    """Detections linked so far."""

    numbers: list[int]
    boxes: list[np.ndarray]
    partial: list[int] = field(default_factory=list)

    @property
    def num_seen(self) -> int:
        """Frames in which the body, or a part of it, was seen."""
        return len(self.numbers) + len(self.partial)

    def append(self, number: int, box: np.ndarray) -> None:
        self.numbers.append(number)
        self.boxes.append(box)

    def grow_into(self, number: int, box: np.ndarray) -> None:
        """Go on as the body of which only a part was seen so far."""
        self.partial = sorted([*self.partial, *self.numbers])
        self.numbers, self.boxes = [number], [box]

    def expected(self, number: int) -> np.ndarray:
        """Box where this body should be by now, of the size that it had lately."""
        recent = np.stack(self.boxes[-6:])
        size = np.median(recent[:, 2:] - recent[:, :2], axis=0)
        speed = np.zeros(2)
        if len(recent) >= 4:
            elapsed = self.numbers[-1] - self.numbers[-len(recent)]
            speed = (_centre(recent[-1]) - _centre(recent[0])) / elapsed
        centre = _centre(recent[-1]) + speed * (number - self.numbers[-1])
        return np.concatenate([centre - size / 2, centre + size / 2])


@dataclass(frozen=True)
class _Path:
    """One body's way, seen in some of the frames from its first to its last."""

    numbers: Int[np.ndarray, " seen"]
    boxes: Float32[np.ndarray, "seen 4"]

    partial: Int[np.ndarray, " partly_seen"]
    """Further frames, in which only a part of the body was seen."""

    @property
    def first(self) -> int:
        return int(np.concatenate([self.numbers[:1], self.partial[:1]]).min())

    @property
    def last(self) -> int:
        return int(np.concatenate([self.numbers[-1:], self.partial[-1:]]).max())

    @property
    def height(self) -> float:
        """Usual height of the body, pixels."""
        return float(np.median(self.boxes[:, 3] - self.boxes[:, 1]))

    def walked(self, second: int) -> float:
        """Length of the way of the feet in body heights, without the sway of single steps."""
        feet = np.stack([self.boxes[:, [0, 2]].mean(axis=1), self.boxes[:, 3]], axis=1)
        steady = uniform_filter1d(feet, min(second, len(feet)), axis=0, mode="nearest")
        steps = np.diff(steady[:: max(1, second // 2)], axis=0)
        return float(np.linalg.norm(steps, axis=1).sum()) / self.height

    def cut_by_border(self, width: int) -> Bool[np.ndarray, " seen"]:
        """Where the picture's left or right border cuts the body."""
        room = _BORDER_SHARE * self.height
        return (self.boxes[:, 0] <= room) | (self.boxes[:, 2] >= width - room)

    def leaves_at(self, place: int, width: int) -> bool:
        """Whether the body is so near the picture's left or right border that it may pass it."""
        room = _NEAR_BORDER * self.height
        return bool(self.boxes[place, 0] <= room or self.boxes[place, 2] >= width - room)

    def part(self, kept: np.ndarray | slice) -> "_Path":
        return _Path(self.numbers[kept], self.boxes[kept], self.partial[:0])


def follow(frames: Iterable[Sequence[Detection]], *, frame_rate_hz: float, width: int) -> Track:
    """Link detections into paths over time and keep the patient's.

    The patient is the body whose feet go the longest way; of bodies that go as far, the one that
    is seen longer. Gaps of about half a second are bridged; at longer ones the track is cut into
    stretches. A later path is taken for the same body if it walks, is about as tall, and begins
    where the earlier one was lost or leads in from the picture's border as the earlier led out.
    Frames at either end of a stretch in which the border cuts the body are left out.

    Args:
        frames: Detections in every frame of the video.
        frame_rate_hz: Frames per second.
        width: Width of the picture, pixels.

    Raises:
        PersonNotFoundError: If there is no path of half a second.
    """
    scale = _Scale(
        width,
        longest_gap=max(1, round(_LONGEST_GAP_SECONDS * frame_rate_hz)),
        shortest_walk=max(2, round(_SHORTEST_WALK_SECONDS * frame_rate_hz)),
        second=max(2, round(frame_rate_hz)),
    )
    paths, num_frames = _link(frames, scale)
    if not paths:
        raise PersonNotFoundError(
            f"no person found in {scale.shortest_walk} frames that follow each other"
        )
    patient = _patient(paths, scale)
    others = [path for path in paths if not any(path is own for own in patient)]
    num_people = 1 + _most_at_once(others, patient[0].height, num_frames)
    return _track(patient, num_people, num_frames, scale)


def _link(frames: Iterable[Sequence[Detection]], scale: _Scale) -> tuple[list[_Path], int]:
    """Paths of half a second or more, and the number of frames."""
    growing: list[_Growing] = []
    ended: list[_Growing] = []
    num_frames = 0
    for number, detections in enumerate(frames):
        num_frames = number + 1
        _extend(growing, number, [detection.box for detection in detections], scale.second)
        ended += [path for path in growing if number - path.numbers[-1] > scale.longest_gap]
        ended = [path for path in ended if len(path.numbers) >= scale.shortest_walk]
        growing = [path for path in growing if number - path.numbers[-1] <= scale.longest_gap]
    paths = [
        _Path(np.array(path.numbers), np.stack(path.boxes), np.array(path.partial, int))
        for path in [*ended, *growing]
    ]
    return [path for path in paths if len(path.numbers) >= scale.shortest_walk], num_frames


def _extend(paths: list[_Growing], number: int, boxes: list[np.ndarray], second: int) -> None:
    """Let every path take what fits it best; boxes that fit no path open new ones.

    A path that has been followed for longer comes first.
    """
    free = list(boxes)
    for path in sorted(paths, key=lambda path: path.num_seen, reverse=True):
        taken = _take(path, number, free, second)
        free = [box for box in free if not any(box is used for used in taken)]
    paths += [_Growing([number], [box]) for box in free]


def _take(path: _Growing, number: int, free: list[np.ndarray], second: int) -> Sequence[np.ndarray]:
    """Go on with the best box, or the parts of a body, or a body seen in part so far; or nothing.

    A box around the expected body is tried as the whole of it before it counts as a part: legs are
    most of a body.
    """
    expected = path.expected(number)
    parts = [box for box in free if _share_inside(box, expected) > _PART_SHARE]
    wholes = [box for box in free if _share_inside(expected, box) > _WHOLE_SHARE]
    choices = [[box] for box in free] + ([parts] if len(parts) > 1 else [])
    best = min(choices, key=lambda choice: _misfit(expected, _around(choice)), default=[])
    if best and _misfit(expected, _around(best)) <= _LARGEST_STEP:
        path.append(number, _around(best))
        return best
    if wholes and number - path.numbers[0] < second:
        whole = min(wholes, key=lambda box: _misfit(expected, box))
        path.grow_into(number, whole)
        return [whole]
    if parts:
        path.partial.append(number)
    return parts


def _patient(paths: list[_Path], scale: _Scale) -> list[_Path]:
    """The paths of the patient, the main one first."""
    ranked = sorted(paths, key=lambda path: _worth(path, scale), reverse=True)
    own = [ranked[0]]
    for path in ranked[1:]:
        walks = path.walked(scale.second) >= _WALKING and _same_height(path, own[0])
        if walks and any(_goes_on(*pair, scale) for pair in _neighbours(path, own, scale)):
            own.append(path)
    return own


def _neighbours(path: _Path, own: list[_Path], scale: _Scale) -> list[tuple[_Path, _Path]]:
    """A path with the one before and the one after it; none if it lies beside another.

    What is seen in part may lie beside: a shadow that stays for a while, or legs that come first.
    """
    pairs = list(pairwise(sorted([*own, path], key=lambda path: int(path.numbers[0]))))
    overlaps = [int(earlier.numbers[-1] - later.numbers[0]) for earlier, later in pairs]
    if max(overlaps) + 1 >= scale.shortest_walk:
        return []
    return [pair for pair in pairs if any(path is member for member in pair)]


def _worth(path: _Path, scale: _Scale) -> float:
    """The longest way, in body heights; a second in the picture counts for a tenth of one."""
    return path.walked(scale.second) + 0.1 * len(path.numbers) / scale.second


def _same_height(one: _Path, other: _Path) -> bool:
    return max(one.height, other.height) <= _OTHER_HEIGHT * min(one.height, other.height)


def _goes_on(earlier: _Path, later: _Path, scale: _Scale) -> bool:
    """Whether a body that was lost may be the one that is found later."""
    if earlier.leaves_at(-1, scale.width) and later.leaves_at(0, scale.width):
        return True
    return _distance(earlier.boxes[-1], later.boxes[0]) <= _SAME_PLACE


def _most_at_once(others: list[_Path], height: float, num_frames: int) -> int:
    """Other people in the picture at the same time, at most; much smaller bodies do not count."""
    count = np.zeros(num_frames, int)
    for path in others:
        if path.height * 2 >= height:
            count[path.first : path.last + 1] += 1
    return int(count.max())


def _track(patient: list[_Path], num_people: int, num_frames: int, scale: _Scale) -> Track:
    presence = np.full(num_frames, Presence.ABSENT, np.uint8)
    frames, boxes, num_switches, last = [], [], 0, -2
    for path in sorted(patient, key=lambda path: int(path.numbers[0])):
        _mark_nearby(presence, path, scale)
        for numbers in (path.numbers, path.partial):
            presence[numbers] = np.maximum(presence[numbers], Presence.LEFT_OUT)
        strange = _strange(path, scale)
        num_switches += int(np.diff(strange.astype(int), prepend=0).clip(0).sum())
        for stretch in _stretches(path, ~strange & (path.numbers > last + 1), scale):
            every, between = _interpolate(stretch)
            presence[every] = Presence.BRIDGED
            presence[stretch.numbers] = Presence.SEEN
            frames.append(every)
            boxes.append(between)
            last = int(every[-1])
    if not frames:
        raise PersonNotFoundError("the person is never seen whole for half a second")
    return Track(np.concatenate(frames), np.concatenate(boxes), presence, num_people, num_switches)


def _strange(path: _Path, scale: _Scale) -> Bool[np.ndarray, " seen"]:
    """Boxes that hold more than the body (another one, a shadow) or less than it.

    What it was cannot be told from boxes.
    """
    width, height = (path.boxes[:, 2:] - path.boxes[:, :2]).T
    usual = median_filter(height, size=min(2 * scale.second + 1, len(height)), mode="nearest")
    odd_height = np.abs(height / usual - 1) > _STRANGE_HEIGHT
    odd_width = width > _STRANGE_WIDTH * usual
    strange: np.ndarray = (odd_height & ~path.cut_by_border(scale.width)) | odd_width
    return strange


def _stretches(path: _Path, usable: Bool[np.ndarray, " seen"], scale: _Scale) -> Iterator[_Path]:
    """What is seen whole of a path in usable frames, cut at its long gaps."""
    whole = path.part(usable & ~path.cut_by_border(scale.width))
    ends = np.flatnonzero(np.diff(whole.numbers) > scale.longest_gap) + 1
    for kept in np.split(np.arange(len(whole.numbers)), ends):
        if len(kept) >= scale.shortest_walk:
            yield whole.part(kept)


def _mark_nearby(presence: np.ndarray, path: _Path, scale: _Scale) -> None:
    """Mark when a body that enters or leaves is out of the picture but near it."""
    first, last = int(path.numbers[0]), int(path.numbers[-1]) + 1
    entered, left = (_frames_nearby(path, place, scale) for place in (0, -1))
    for frames in (slice(max(0, first - entered), first), slice(last, last + left)):
        presence[frames] = np.maximum(presence[frames], Presence.NEARBY)


def _frames_nearby(path: _Path, place: int, scale: _Scale) -> int:
    """Frames before the first (place 0) or after the last (-1) with the body near the picture.

    It is near while a square of its height around it reaches into the picture. It keeps the speed
    of the last second in which it was seen whole; of what lies beyond, a second is looked at.
    """
    outwards = slice(None, None, -1) if place == 0 else slice(None)
    path = path.part(outwards)
    whole = path.part(~path.cut_by_border(scale.width)).part(slice(-scale.second, None))
    if len(whole.numbers) < 2 or not path.leaves_at(-1, scale.width):
        return 0
    centre = whole.boxes[:, [0, 2]].mean(axis=1)
    speed = (centre[-1] - centre[0]) / abs(int(whole.numbers[-1]) - int(whole.numbers[0]))
    elapsed = abs(int(path.numbers[-1]) - int(whole.numbers[-1])) + np.arange(scale.second) + 1
    beyond, reach = centre[-1] + speed * elapsed, path.height / 2
    near = (beyond + reach > 0) & (beyond - reach < scale.width)
    return len(near) if near.all() else int(near.argmin())


def _interpolate(
    path: _Path,
) -> tuple[Int[np.ndarray, " time"], Float32[np.ndarray, "time 4"]]:
    every = np.arange(path.numbers[0], path.numbers[-1] + 1)
    boxes = np.stack([np.interp(every, path.numbers, edge) for edge in path.boxes.T], axis=1)
    return every, boxes.astype(np.float32)


def _distance(expected: np.ndarray, box: np.ndarray) -> float:
    """Distance between the centres of two boxes, in heights of the taller."""
    height = max(expected[3] - expected[1], box[3] - box[1])
    return float(np.linalg.norm(_centre(box) - _centre(expected)) / height)


def _misfit(expected: np.ndarray, box: np.ndarray) -> float:
    """Distance of a box from the expected one, counting a change of height as well."""
    heights = expected[3] - expected[1], box[3] - box[1]
    return _distance(expected, box) + _HEIGHT_WEIGHT * abs(float(np.log(heights[1] / heights[0])))


def _share_inside(box: np.ndarray, other: np.ndarray) -> float:
    """Share of a box that lies inside another."""
    common = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    return float(np.prod(common.clip(0)) / np.prod(box[2:] - box[:2]))


def _around(boxes: list[np.ndarray]) -> np.ndarray:
    stacked = np.stack(boxes)
    return np.concatenate([stacked[:, :2].min(axis=0), stacked[:, 2:].max(axis=0)])


def _centre(box: np.ndarray) -> np.ndarray:
    centre: np.ndarray = (box[:2] + box[2:]) / 2
    return centre
