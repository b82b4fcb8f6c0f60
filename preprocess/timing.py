"""Which frames of a video are used, and when: by time stamp, at one constant rate."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

Frame = TypeVar("Frame")

_LIKE_SHARE = 0.95  # of all steps must be like the usual one
_LIKE_STEP = 0.2  # of the usual step: as far may a step be from it and still be like it
_MOST_REORDERED = 16  # frames that a decoder holds back at most (H.264 and HEVC, annex A)
_ROUNDING_SECONDS = 1e-6


@dataclass(frozen=True)
class Timing:
    """When a video's frames are shown, and which of them are used."""

    frame_rate_hz: float
    """Used frames per second."""

    source_rate_hz: float
    """Usual number of the file's own frames per second."""

    stamped: bool
    """Whether the file's time stamps hold; if not, its frames are taken as evenly spaced."""

    resampled: bool
    """Whether frames are repeated or dropped to keep `frame_rate_hz`; if not, each is used once."""

    def used(
        self, frames: Iterable[Frame], seconds_of: Callable[[Frame], float | None]
    ) -> Iterator[Frame]:
        """The frames to use, in order; a repeated one is the same object.

        Used frame k is the one nearest in time to k / `frame_rate_hz` after the first; of two
        equally near, the earlier. The last frame is used up to half a usual step after its time.

        Args:
            frames: All frames of the file as they are decoded.
            seconds_of: Gives a frame's time stamp, seconds, or None where it has none.
        """
        if not self.resampled:
            yield from frames
            return
        num_used, shown, shown_at = 0, None, 0.0
        for frame, at in self._placed(frames, seconds_of):
            while shown is not None and self._is_before(num_used, (shown_at + at) / 2):
                yield shown
                num_used += 1
            shown, shown_at = frame, at
        while shown is not None and self._is_before(num_used, shown_at + 0.5 / self.source_rate_hz):
            yield shown
            num_used += 1

    def _is_before(self, number: int, seconds: float) -> bool:
        return number / self.frame_rate_hz <= seconds + _ROUNDING_SECONDS

    def _placed(
        self, frames: Iterable[Frame], seconds_of: Callable[[Frame], float | None]
    ) -> Iterator[tuple[Frame, float]]:
        """Every frame and its time after the first one, which only ever grows."""
        step = 1 / self.source_rate_hz
        start, at = None, -step
        for frame in frames:
            stamp = seconds_of(frame) if self.stamped else None
            after, at = at, at + step
            if stamp is not None:
                start = stamp - at if start is None else start
                at = stamp - start if stamp - start > after else at
            yield frame, at


def timing_of(
    stamps: Sequence[float | None], *, header_rate_hz: float | None, fps: float | None
) -> Timing | None:
    """Decide which frames of a file to use.

    A file of nearly constant rate keeps every frame: at least 95 % of its steps are within a fifth
    of the usual one. Any other is resampled to its usual rate, and every file to `fps` if given.

    Args:
        stamps: Time stamps in the order of the file, seconds; None where there is none.
        header_rate_hz: Frame rate in the file's header; counts where time stamps do not hold.
        fps: Wanted frame rate; None for the file's own usual one.

    Returns:
        The timing; None if the file does not tell its frame rate at all.
    """
    seconds = np.sort([stamp for stamp in stamps if stamp is not None])
    stamped = _hold(stamps)
    source_rate_hz = (frame_rate_hz(seconds) if stamped else None) or header_rate_hz
    if not source_rate_hz:
        return None
    resampled = fps is not None or (stamped and not _nearly_constant(seconds))
    return Timing(fps or source_rate_hz, source_rate_hz, stamped, resampled)


def frame_rate_hz(seconds: Sequence[float] | Float64[np.ndarray, " time"]) -> float | None:
    """Frames per second from time stamps; None if they do not say.

    The mean step evens out time stamps that are rounded to milliseconds; steps far from the
    median are dropped frames and do not count.
    """
    steps = np.diff(seconds)
    steps = steps[steps > 0]
    if not len(steps):
        return None
    usual = median_low(steps.tolist())  # one of the steps: the mean has something to average
    return float(1 / steps[np.abs(steps - usual) < usual / 2].mean())


def _hold(stamps: Sequence[float | None]) -> bool:
    """Whether nearly all frames have a time stamp of their own and time never starts again."""
    known = np.array([stamp for stamp in stamps if stamp is not None])
    if len(known) < 2 or len(np.unique(known)) < _LIKE_SHARE * len(stamps):
        return False
    usual = np.median(np.diff(np.unique(known)))
    return bool((np.maximum.accumulate(known) - known).max() <= _MOST_REORDERED * usual)


def _nearly_constant(seconds: Float64[np.ndarray, " time"]) -> bool:
    steps = np.diff(seconds)
    usual = np.median(steps)
    return bool((np.abs(steps - usual) <= _LIKE_STEP * usual).mean() >= _LIKE_SHARE)
