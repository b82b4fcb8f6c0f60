"""Files that are there as a whole or not at all."""

from collections.abc import Callable
from pathlib import Path


def write_atomically(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the file under another name, and give it its own when it is complete.

    A process that is killed meanwhile leaves the earlier file.
    """
    unfinished = file.with_name(f"{file.name}.unfinished")
    write(unfinished)
    unfinished.replace(file)
