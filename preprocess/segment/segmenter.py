"""What every segmenter offers."""

from typing import Protocol, runtime_checkable

from preprocess.decode import Video
from preprocess.people.finder import Person
from preprocess.people.track import Track


@runtime_checkable
class Segmenter(Protocol):
    """Tells a body whose track is known from its surroundings."""

    def __call__(self, video: Video, track: Track) -> Person:
        """The same track with this segmenter's silhouettes.

        Raises:
            DecodeError: If the video cannot be decoded.
        """
