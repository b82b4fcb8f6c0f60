"""Progress bars that suit a terminal and a log file alike."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_LOG_INTERVAL_SECONDS = 15.0


def progress_bar(
    items: Iterable[Any] | None = None, *, total: int | None = None, title: str, unit: str
) -> "tqdm[Any]":
    """Show progress and time left; in a log file, a line now and then.

    Args:
        items: What to iterate over, if anything.
        total: Number of items, where it cannot be asked for.
        title: What is going on.
        unit: What one item is.
    """
    interval = 0.1 if sys.stderr.isatty() else _LOG_INTERVAL_SECONDS
    return tqdm(
        items, total=total, desc=title, unit=unit, mininterval=interval, maxinterval=interval
    )
