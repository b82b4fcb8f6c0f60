"""The videos of a cohort spread over processes of this machine."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from threading import Thread
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from pebble import ProcessExpired, ProcessPool

from asd_experiments.errors import InputError
from preprocess.dispatch import dispatch

_ATTEMPTS = 2

Done = TypeVar("Done", covariant=True)
Result = TypeVar("Result")


@runtime_checkable
class WorkPlan(Protocol, Generic[Done]):
    """What is to be done with videos; it travels to every process."""

    def worker(self) -> Callable[[str], Done]:
        """Build what a process works with, once: it is called with the name of every video."""


class WorkersError(InputError):
    """Worker processes cannot be used on this machine."""


def in_processes(
    plan: WorkPlan[Result],
    videos: Sequence[str],
    *,
    processes: int,
    lost: Callable[[str], Result],
) -> Iterator[Result]:
    """Work on videos in several processes at once; results come as they finish.

    A process that dies costs its video in flight, which is tried once more. However this ends, no
    process is left.

    Args:
        plan: What is to be done.
        videos: Names of the videos.
        processes: How many processes.
        lost: Result of a video whose processes die.

    Raises:
        WorkersError: If processes die before they take a video.
    """
    # A forked process would inherit locks of this one's threads, and zarr has threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(processes, initializer=_prepare, initargs=[plan], context=context)

    def submit(video: str) -> "Future[Result]":
        return pool.schedule(_work, args=[video])

    try:
        yield from dispatch(
            videos,
            submit,
            lost=lost,
            in_flight=2 * processes,
            attempts=_ATTEMPTS,
            deaths=(ProcessExpired,),
        )
    except BrokenProcessPool as error:
        raise WorkersError(
            "worker processes die before they begin; see above, or take workers=1"
        ) from error
    finally:
        pool.stop()
        pool.join()


def num_workers(wanted: int | None, num_videos: int, *, device: str | None) -> int:
    """Processes to work with: never more than videos.

    Args:
        wanted: As many as a user asks for. None: one per core that this process may use; one
            altogether if a GPU does the work.
        num_videos: Videos to work on.
        device: Kind of device that the work is done on, see `Preprocessor`.
    """
    if wanted is None:
        wanted = 1 if device == "cuda" else _num_cores()
    return min(wanted, num_videos)


def _num_cores() -> int:
    """Cores that this process may use; all of them where the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_plan: WorkPlan[Any]
_worker: Callable[[str], Any] | None = None


def _prepare(plan: WorkPlan[Any]) -> None:
    global _plan
    _plan = plan
    begin_as_worker()


def begin_as_worker() -> None:
    """Begin as a worker process: die at once when told to, and with the process that began it."""
    # Blosc makes a lock, which would outlive a process that is killed; a lock for forks does not.
    multiprocessing.set_start_method("fork", force=True)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(video: str) -> Any:
    """Do one video; what that takes is built with the first one, so a failure has a video."""
    global _worker
    if _worker is None:
        _worker = _plan.worker()
    return _worker(video)
