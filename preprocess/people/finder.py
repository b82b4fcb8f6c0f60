"""What every person finder offers."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from preprocess.decode import Video
from preprocess.people.track import Track


@runtime_checkable
class Person(Protocol):
    """One person found in one video: where it is, and its silhouette in any crop."""

    track: Track

    def mask(
        self,
        number: int,
        crop: UInt8[np.ndarray, "size size 3"],
        window: Float32[np.ndarray, " 4"],
        oversampling: int,
    ) -> UInt8[np.ndarray, "size size"]:
        """Body (1) and surroundings (0) in a crop.

        Args:
            number: Frame of the video, counted from 0; it lies on the track.
            crop: The picture inside the window.
            window: x0, y0, x1, y1, source pixels.
            oversampling: How `crop.cut` made the crop.
        """


@runtime_checkable
class PersonFinder(Protocol):
    """Finds the one person that a video is about.

    A finder reads the video's pictures as often as it likes, keeps boxes and silhouettes in
    memory at most (compressed), and never pictures of the whole video.
    """

    def __call__(self, video: Video) -> Person:
        """Find the person.

        Raises:
            PersonNotFoundError: If nobody is found, or not for long enough.
            DecodeError: If the video cannot be decoded.
        """
