"""The folder for temporary files, where what a video needs for a while is kept."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, runtime_checkable

from asd_experiments.errors import InputError

MOST_KEPT_BYTES = 2**30


class ScratchError(InputError):
    """The folder for temporary files has no room; no video is to blame."""


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """Say what to do where something cannot be kept.

    Raises:
        ScratchError: If a file in use here cannot be written or read.
    """
    try:
        yield
    except OSError as error:
        raise ScratchError(
            f"{what} cannot be kept in the folder for temporary files: "
            f"{error.strerror or type(error).__name__}; make room there or set TMPDIR to a folder "
            f"with {MOST_KEPT_BYTES / 2**30:.0f} GiB for each worker"
        ) from error


@runtime_checkable
class TemporaryFile(Protocol):
    """A file that is gone once it is closed."""

    def close(self) -> None:
        """Give it up."""


def close(file: TemporaryFile) -> None:
    """Close a temporary file; what a full disk leaves unwritten is given up."""
    with suppress(OSError):
        file.close()
