"""Progress bars that suit a terminal and a log file alike."""

import sys
import time
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

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


@runtime_checkable
class Progress(Protocol):
    """What is told how far a trial is."""

    def epoch(self, fold: int, loss: float) -> None:
        """Take note of an epoch of a fold, counted from 0, and of its validation loss."""

    def fold_done(self, fold: int, *, epochs: int, best_epoch: int, loss: float) -> None:
        """Take note of the end of a fold of so many epochs; the loss is its best epoch's."""

    def say(self, line: str) -> None:
        """Tell the user something beside."""


class TrialProgress:
    """One line for all folds and epochs of a trial on a terminal; else a plain line per fold.

    Args:
        num_folds: Folds of the trial.
        epochs: Most epochs of a fold; those that it stops early are taken off.
    """

    def __init__(self, num_folds: int, epochs: int) -> None:
        self._num_folds = num_folds
        self._epochs = epochs
        self._quiet = not sys.stderr.isatty()
        self._bar = tqdm(total=num_folds * epochs, unit="epoch", disable=self._quiet)
        self._fold_seconds: list[float] = []
        self._began = time.monotonic()

    def __enter__(self) -> "TrialProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def epoch(self, fold: int, loss: float) -> None:
        """Count an epoch of a fold, counted from 0, and show its validation loss."""
        self._bar.set_description(self._name(fold), refresh=False)
        self._bar.set_postfix_str(f"validation loss {loss:.3f}", refresh=False)
        self._bar.update()

    def fold_done(self, fold: int, *, epochs: int, best_epoch: int, loss: float) -> None:
        """Close a fold of so many epochs; the loss is its best epoch's."""
        now = time.monotonic()
        self._fold_seconds.append(now - self._began)
        self._began = now
        if self._bar.total is not None:
            self._bar.total -= self._epochs - epochs
            self._bar.refresh()
        if self._quiet:
            remaining = self._num_folds - fold - 1
            left = remaining * sum(self._fold_seconds) / len(self._fold_seconds)
            self.say(
                f"{self._name(fold)}: best epoch {best_epoch} of {epochs}, validation loss "
                f"{loss:.3f}, {self._fold_seconds[-1]:.0f} s"
                + (f"; about {left / 60:.0f} min left" if remaining else "")
            )

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()

    def _name(self, fold: int) -> str:
        return f"fold {fold + 1} of {self._num_folds}"
