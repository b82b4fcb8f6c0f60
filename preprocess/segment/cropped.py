"""What segmenters share that look at the stored crops alone, not at the video."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float32, UInt8

from preprocess.decode import Video
from preprocess.people.track import Track
from preprocess.segment.reach import reach_of

Reach = tuple[slice, slice]
"""Rows and columns of a crop that the body may cover."""

SegmentCrops = Callable[
    [UInt8[np.ndarray, "time size size 3"], list[Reach]], UInt8[np.ndarray, "time size size"]
]
"""Gives body (1) and surroundings (0) of crops, given where the body may be."""


class CroppedPerson:
    """A person segmented in the crops.

    Args:
        video: The video.
        track: Where the patient is.
        segment: Segments crops.
        room: Room around the track's box, as a share of its height.
    """

    def __init__(self, video: Video, track: Track, segment: SegmentCrops, room: float) -> None:
        self.track = track
        self._picture = video.height, video.width
        self._segment = segment
        self._room = room

    def masks(
        self,
        start: int,
        crops: UInt8[np.ndarray, "time size size 3"],
        windows: Float32[np.ndarray, "time 4"],
    ) -> UInt8[np.ndarray, "time size size"]:
        """Body (1) and surroundings (0) in crops of consecutive frames; see `Person.masks`."""
        return self._segment(crops, list(self._reaches(start, windows, crops.shape[1])))

    def _reaches(
        self, start: int, windows: Float32[np.ndarray, "time 4"], size: int
    ) -> Iterator[Reach]:
        boxes = self.track.boxes[start : start + len(windows)]
        for box, window in zip(boxes, windows, strict=True):
            yield reach_of(box, window, size, self._picture, self._room)
