"""Videos of strangers: preprocessed in a process of its own, which may die of them.

A file of two kilobytes can make FFmpeg ask for gigabytes while it opens it, before anything of the
file can be looked at, and a crafted one can make it crash. So the process that opens such files has
a limit of memory and of time, and whoever asked for the video only hears that there is none.
"""

import multiprocessing
import sys
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from asd_experiments.data.video_file import VideoBounds
from asd_experiments.errors import InputError
from preprocess.pipeline import Preprocessor
from preprocess.workers import begin_as_worker

_VIDEOS_PER_PROCESS = 500


class IsolatedPreprocessor:
    """Preprocesses one video at a time in another process; a new one follows one that dies.

    Args:
        recipe: See `Preprocessor`.
        weights: See `Preprocessor`.
        bounds: What the videos must keep to.
        most_bytes: Memory that the process may ask for, bytes; None: any (where a GPU works, whose
            memory counts as well).

    Raises:
        InputError: If the process cannot begin, for lack of memory or of a library.
    """

    def __init__(
        self,
        recipe: Mapping[str, object],
        weights: Mapping[str, bytes],
        *,
        bounds: VideoBounds,
        most_bytes: int | None,
    ) -> None:
        self._most_bytes = most_bytes
        self._plan = [recipe, weights, bounds, most_bytes]
        self._pool = self._new_pool()
        try:
            self._pool.schedule(_begin).result()
        except (ProcessExpired, BrokenProcessPool, MemoryError) as error:
            self.close()
            raise InputError(
                "the process that preprocesses videos dies as it begins; see above, or allow it "
                f"more memory than {self._in_words()}"
            ) from error

    def store_alone(self, video: Path, store: Path, *, label: str, seconds: float) -> str | None:
        """Make a clip store of one video; say why it could not be.

        Args:
            video: The file.
            store: Folder to make.
            label: See `Preprocessor.store_alone`.
            seconds: Time that it may take.
        """
        try:
            reason: str | None = self._stored(video, store, label, seconds)
        except TimeoutError:
            return (
                f"it takes longer than {seconds:.0f} s to preprocess; "
                "cut the walk out of it, or scale it down"
            )
        except ProcessExpired:
            return (
                f"reading it takes more than {self._in_words()} of memory or breaks the reader: "
                "it is damaged, or made to do harm"
            )
        return reason

    def _stored(self, video: Path, store: Path, label: str, seconds: float) -> str | None:
        """Have a video stored; a process that was killed between two videos costs none."""
        if self._pool.active:
            try:
                return self._result(video, store, label, seconds)
            except BrokenProcessPool:
                pass
        self.close()
        self._pool = self._new_pool()
        return self._result(video, store, label, seconds)

    def _result(self, video: Path, store: Path, label: str, seconds: float) -> str | None:
        task = self._pool.schedule(_store, args=[video, store, label], timeout=seconds)
        reason: str | None = task.result()
        return reason

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(
            1,
            max_tasks=_VIDEOS_PER_PROCESS,
            initializer=_prepare,
            initargs=self._plan,
            # A forked process would inherit locks of the server's threads.
            context=multiprocessing.get_context("spawn"),
        )

    def close(self) -> None:
        """End the process."""
        self._pool.stop()
        self._pool.join()

    def _in_words(self) -> str:
        return "there is" if self._most_bytes is None else f"{self._most_bytes / 2**30:.3g} GiB"


_plan: tuple[Mapping[str, object], Mapping[str, bytes], VideoBounds]
_preprocessor: Preprocessor | None = None


def _prepare(
    recipe: Mapping[str, object],
    weights: Mapping[str, bytes],
    bounds: VideoBounds,
    most_bytes: int | None,
) -> None:
    global _plan
    begin_as_worker()
    _plan = recipe, weights, bounds
    if most_bytes is not None and sys.platform.startswith("linux"):
        import resource  # which Windows lacks

        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))


def _built() -> Preprocessor:
    """What this process works with; built with its first video, so a failure has one."""
    global _preprocessor
    if _preprocessor is None:
        _preprocessor = Preprocessor(*_plan)
    return _preprocessor


def _begin() -> None:
    _built()


def _store(video: Path, store: Path, label: str) -> str | None:
    return _built().store_alone(video, str(store), label=label)
