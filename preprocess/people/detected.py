"""Find the patient with a network that sees people in single pictures."""

import pickle
from collections.abc import Iterable, Iterator
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from asd_experiments.data.store_layout import Presence
from preprocess.decode import Video
from preprocess.method import MethodError
from preprocess.people.track import Detection, PersonNotFoundError, Track, follow
from preprocess.scratch import close, room_for

LEAST_SCORE = 0.5
"""How sure a detector must be of a person."""

_ENLARGED = 1.25  # as much may a picture at hand be enlarged before it is decoded again
_LEAST_OVERLAP = 0.5  # of a track's box and the body that it stems from
_HALF = 128
_MOST_BYTES_IN_MEMORY = 2**24


class Body(NamedTuple):
    """A person that a network sees in one picture."""

    box: Float32[np.ndarray, " 4"]
    """x0, y0, x1, y1 inside the picture, pixels; pixel i reaches from i to i + 1."""

    score: float
    """How sure the network is, 0 to 1."""

    silhouette: UInt8[np.ndarray, "rows columns"] | None = None
    """How surely each cell of a grid over the box is body, 0 to 255; None: it cannot tell."""


@runtime_checkable
class Detector(Protocol):
    """Sees people in single pictures."""

    batch_size: int
    """Pictures that it takes at once."""

    def scale(self, height: int, width: int) -> float:
        """Factor by which it enlarges or shrinks pictures of a size for its network."""

    def __call__(self, pictures: UInt8[np.ndarray, "picture height width 3"]) -> list[list[Body]]:
        """People in every picture; unsure ones and boxes without area do not count.

        A silhouette is small, whatever the picture: at most about 128 rows.
        """


@runtime_checkable
class Bodies(Protocol):
    """Everybody seen in every frame of a video."""

    def __getitem__(self, number: int, /) -> list[Body]: ...


class DetectedPerson:
    """The patient, with the silhouettes that a network saw.

    Args:
        track: Where the patient is.
        bodies: Everybody seen in every frame of the video, source pixels.
    """

    def __init__(self, track: Track, bodies: Bodies) -> None:
        self.track = track
        places = enumerate(zip(track.frames.tolist(), track.boxes, strict=True))
        seen = {
            place: body
            for place, (number, box) in places
            if track.presence[number] == Presence.SEEN
            and (body := _same(bodies[number], box)) is not None
        }
        self._silhouettes = [body.silhouette for body in seen.values()]
        if seen:
            # The number of the nearest frame in which the patient was seen, for every frame.
            known = track.frames[list(seen)]
            numbers = np.interp(track.frames, known, np.arange(len(seen), dtype=np.float64))
            self._nearest = np.rint(numbers).astype(int)

    def masks(
        self,
        start: int,
        crops: UInt8[np.ndarray, "time size size 3"],
        windows: Float32[np.ndarray, "time 4"],
    ) -> UInt8[np.ndarray, "time size size"]:
        """Body (1) and surroundings (0) in crops of consecutive frames; see `Person.masks`.

        Where the patient was not seen, the silhouette of the nearest frame moves with the box.

        Raises:
            MethodError: If the detector has no silhouettes.
            PersonNotFoundError: If it saw the patient in pieces only.
        """
        if not self._silhouettes:
            raise PersonNotFoundError("the person is seen in pieces only, never as one body")
        size = crops.shape[1]
        masks = np.empty(crops.shape[:3], np.uint8)
        for place, window in enumerate(windows, start):
            silhouette = self._silhouettes[self._nearest[place]]
            if silhouette is None:
                raise MethodError("this person finder finds no masks; choose a segmenter")
            masks[place - start] = silhouette_in(window, size, silhouette, self.track.boxes[place])
        return masks


def find_detected_person(video: Video, detector: Detector) -> DetectedPerson:
    """Look for people in every frame and follow the patient; see `PersonFinder`."""
    file = SpooledTemporaryFile(_MOST_BYTES_IN_MEMORY)  # noqa: SIM115 - closed whatever fails
    try:
        bodies = _Scratch(file)
        detections = _detections(_bodies(video, detector), bodies)
        track = follow(detections, frame_rate_hz=video.frame_rate_hz, width=video.width)
        return DetectedPerson(track, bodies)
    finally:
        close(file)


def silhouette_in(
    window: Float32[np.ndarray, " 4"],
    size: int,
    silhouette: UInt8[np.ndarray, "rows columns"],
    box: Float32[np.ndarray, " 4"],
) -> UInt8[np.ndarray, "{size} {size}"]:
    """Body (1) and surroundings (0) in a crop, from a silhouette that covers a box.

    Args:
        window: x0, y0, x1, y1 of the crop, source pixels.
        size: Side of the crop, pixels.
        silhouette: How surely each cell is body, 0 to 255.
        box: x0, y0, x1, y1 of the silhouette, source pixels.
    """
    cells = np.array(silhouette.shape[::-1]) / (box[2:] - box[:2]).astype(float)
    step = (window[2:] - window[:2]).astype(float) / size * cells
    first = (window[:2] - box[:2]) * cells + step / 2 - 0.5
    to_silhouette = np.array([[step[0], 0, first[0]], [0, step[1], first[1]]])
    warped = cv2.warpAffine(
        silhouette,
        to_silhouette,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return (warped >= _HALF).astype(np.uint8)


def scale_to_edges(height: int, width: int, *, shortest: int, longest: int) -> float:
    """Factor that brings the shorter side of a picture to one length, the longer to another.

    Args:
        height: Height of the picture, pixels.
        width: Its width, pixels.
        shortest: Length of the shorter side, pixels.
        longest: Length that the longer side does not exceed, pixels.
    """
    return min(shortest / min(height, width), longest / max(height, width))


class _Scratch:
    """Everybody seen so far, in a file: a long video of a crowd would not fit into memory.

    Only when the video has ended is it known who the patient is, whose silhouettes stay.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._starts: list[int] = []

    def append(self, seen: list[Body]) -> None:
        with room_for("silhouettes"):
            self._starts.append(self._file.tell())
            pickle.dump(seen, self._file)

    def __getitem__(self, number: int, /) -> list[Body]:
        with room_for("silhouettes"):
            self._file.seek(self._starts[number])
            seen: list[Body] = pickle.load(self._file)
        return seen


def _detections(frames: Iterable[list[Body]], bodies: _Scratch) -> Iterator[list[Detection]]:
    """What `follow` takes; the bodies themselves are kept beside."""
    for seen in frames:
        bodies.append(seen)
        yield [Detection(body.box) for body in seen]


def _bodies(video: Video, detector: Detector) -> Iterator[list[Body]]:
    """People in every frame of a video, source pixels."""
    detail = 1 / detector.scale(video.height, video.width)
    shrink = video.shrink_for(detail, enlarged=_ENLARGED)
    pictures = video.pictures(shrink)
    while batch := list(islice(pictures, detector.batch_size)):
        for seen in detector(np.stack(batch)):
            yield [
                body._replace(box=body.box * np.float32(shrink))
                for body in seen
                if body.score >= LEAST_SCORE and _is_area(body.box)
            ]


def _is_area(box: Float32[np.ndarray, " 4"]) -> bool:
    return bool((box[2:] - box[:2] >= 1).all())


def _same(bodies: list[Body], box: Float32[np.ndarray, " 4"]) -> Body | None:
    """The body from which a track has its box."""
    overlaps = [_overlap(body.box, box) for body in bodies]
    if not overlaps or max(overlaps) < _LEAST_OVERLAP:
        return None
    return bodies[int(np.argmax(overlaps))]


def _overlap(one: Float32[np.ndarray, " 4"], other: Float32[np.ndarray, " 4"]) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(sides.clip(0)))
    return common / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - common)
