"""What every person finder offers."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from preprocess.decode import Video
from preprocess.people.track import Track


@runtime_checkable
class Person(Protocol):
    """The patient found in one video: where, and the silhouette in any crop."""

    track: Track

    def masks(
        self,
        start: int,
        crops: UInt8[np.ndarray, "time size size 3"],
        windows: Float32[np.ndarray, "time 4"],
    ) -> UInt8[np.ndarray, "time size size"]:
        """Body (1) and surroundings (0) in crops of consecutive frames of the track.

        Args:
            start: Place of the first of them on the track, counted from 0.
            crops: The pictures inside the windows.
            windows: x0, y0, x1, y1, source pixels.
        """


@runtime_checkable
class PersonFinder(Protocol):
    """Finds the one person that a video is about.

    A finder reads the video's pictures as often as it likes, keeps boxes and small silhouettes in
    memory at most, and never pictures of the whole video.
    """

    def __call__(self, video: Video) -> Person:
        """Find the person.

        Raises:
            PersonNotFoundError: If nobody is found, or not for long enough.
            DecodeError: If the video cannot be decoded.
        """
