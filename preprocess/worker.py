"""One process's share of a cohort: what it needs to know, and what it says of every video."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asd_experiments.data.store_layout import video_key
from asd_experiments.data.store_writer import StoreWriter
from asd_experiments.data.video_file import file_sha256
from asd_experiments.errors import InputError
from preprocess.dispatch import WORKER_DIED
from preprocess.pipeline import Preprocessor


class VideosGoneError(InputError):
    """The videos folder is lost during the work; no video is to blame."""


class Result(NamedTuple):
    """What became of one video."""

    video: str
    """Name in the labels file."""

    key: str | None = None
    """Its name in the store; None if it is not there."""

    is_new: bool = False
    """Whether it was stored just now."""

    reason: str | None = None
    """Why it could not be stored."""

    @classmethod
    def lost(cls, video: str) -> "Result":
        """Result of a video whose workers die."""
        return cls(video, reason=WORKER_DIED)


@dataclass(frozen=True)
class Plan:
    """Everything that another process needs to work on a cohort."""

    videos: Path
    """Folder that the names of the videos start from."""

    store: str
    """Clip store, made already."""

    recipe: Mapping[str, object]
    """See `Preprocessor`."""

    weights: Mapping[str, bytes]
    """See `Preprocessor`."""

    libraries: Mapping[str, str]
    """Name and version of everything that computes what is stored, see `Preprocessor`."""

    device: str | None
    """Kind of device that the store is computed on, see `Preprocessor`."""

    def worker(self) -> "Worker":
        """Build what this process works with; once, not per video.

        Raises:
            MethodError: If this process lacks a method's library.
            StoreError: If the store was made in another way than this process works.
        """
        preprocessor = Preprocessor(self.recipe, self.weights)
        writer = StoreWriter(
            self.store, preprocessor.recipe, preprocessor.backends, preprocessor.weights
        )
        return Worker(self.videos, preprocessor, writer)


class Worker:
    """Stores videos one by one; those that are in the store already are left alone."""

    def __init__(self, videos: Path, preprocessor: Preprocessor, writer: StoreWriter) -> None:
        self._videos = videos
        self._preprocessor = preprocessor
        self._writer = writer

    def __call__(self, video: str) -> Result:
        """Look for a video in the store, and store it if it is not there.

        Raises:
            VideosGoneError: If it cannot be stored because the whole folder is gone.
        """
        result = self._result(video)
        if result.reason:
            check_folder(self._videos)
        return result

    def _result(self, video: str) -> Result:
        path = self._videos / video
        try:
            sha256 = file_sha256(path)
        except OSError as error:
            return Result(video, reason=f"it cannot be read: {error.strerror}")
        key = video_key(sha256)
        if self._writer.facts(key) is not None:
            return Result(video, key)
        if reason := self._preprocessor.failure(path, self._writer, source_sha256=sha256):
            return Result(video, reason=reason)
        return Result(video, key, is_new=True)


def check_folder(videos: Path) -> None:
    """Find out, where a video could not be used, whether all are gone.

    A mount point is empty without its share.

    Raises:
        VideosGoneError: If nothing can be found in the folder.
    """
    try:
        is_gone = next(videos.iterdir(), None) is None
    except OSError:
        is_gone = True
    if is_gone:
        raise VideosGoneError(
            "the videos folder is gone or empty (a lost network share?); "
            "bring it back and run the same command: what is done stays"
        )
