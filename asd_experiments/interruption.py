"""Requests to stop: Ctrl-C, or a batch scheduler's SIGTERM."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize
from types import FrameType

_requests: list[int] = []


class Interrupted(BaseException):
    """Somebody asked this process to stop."""


@contextmanager
def stop_signals_raise() -> Iterator[None]:
    """Turn the first request to stop into an exception, and let no second one disturb the closing.

    Ctrl-C below `mlflow run` sends SIGINT to this process, and SIGTERM a moment later.
    """
    _requests.clear()

    def stop(number: int, _: FrameType | None) -> None:
        _requests.append(number)
        if len(_requests) == 1:
            raise_if_stopped()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _requests.clear()


def raise_if_stopped() -> None:
    """Raise what a request to stop raised, in case it was lost.

    Python only prints an exception that a signal raises while an object is being deleted. Long work
    looks here now and then.

    Raises:
        Interrupted: If somebody has asked this process to stop.
    """
    if _requests:
        raise Interrupted(f"stopped by {signal.Signals(_requests[0]).name}")


def leave_stopping_to_the_parent(*_: object) -> None:
    """Begin a process that reads clips: Ctrl-C reaches it too, and it must not end before others.

    It ends with the process that began it.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _kill_those_left() -> None:
    """End what `multiprocessing` would end by a signal that readers of clips ignore."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


Finalize(None, _kill_those_left, exitpriority=0)
