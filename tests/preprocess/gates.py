"""Videos that hold the worker which reads them, until the test lets it go or kills it."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

_LONGEST_WAIT_SECONDS = 600  # a worker that imports PyTorch on a busy machine takes minutes


class Gate:
    """A named pipe in place of a video: whoever begins to read it waits there, and is known.

    Args:
        video: The file; it comes back when the gate opens.
    """

    def __init__(self, video: Path) -> None:
        self.video = video
        self._real = video.with_suffix(".real")
        video.rename(self._real)
        os.mkfifo(video)
        self._pipe: int | None = None

    def wait(self) -> int:
        """Process that has begun to read the video."""
        self._pipe = _until(self._opened)
        return _until(lambda: _reader(self.video))

    def _opened(self) -> int | None:
        try:
            return os.open(self.video, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            return None

    def open(self) -> None:
        """Put the video back for whoever comes later; the one that waits still waits."""
        self._real.rename(self.video)

    def release(self) -> None:
        """Let the waiting process, if it still lives, read the whole video."""
        assert self._pipe is not None
        os.set_blocking(self._pipe, True)
        with suppress(BrokenPipeError), os.fdopen(self._pipe, "wb", buffering=0) as pipe:
            pipe.write(self.video.read_bytes())

    def kill_reader(self) -> None:
        """Kill the process that waits here, as the kernel does when memory runs out."""
        pid = self.wait()
        os.kill(pid, signal.SIGKILL)
        assert self._pipe is not None
        os.close(self._pipe)
        _until(lambda: _reader(self.video) != pid or None)


def in_background(act: Callable[[], None]) -> Thread:
    thread = Thread(target=act, daemon=True)
    thread.start()
    return thread


def wait_for_death(pids: list[int]) -> None:
    """Wait until one of several processes has ended."""
    _until(lambda: next((pid for pid in pids if not Path(f"/proc/{pid}").exists()), None))


def _reader(video: Path) -> int | None:
    own = os.getpid()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        pid = int(link.parts[2])
        try:
            if pid != own and link.readlink() == video:
                return pid
        except OSError:  # the process has ended
            continue
    return None


def _until(ask: Callable[[], int | None]) -> int:
    end = time.monotonic() + _LONGEST_WAIT_SECONDS
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.01)
    raise TimeoutError("nothing happened")
