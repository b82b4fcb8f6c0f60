"""Video files to RGB pictures, streamed: nothing here keeps more than one picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import UInt8

_HEADER_SHARE = 0.9
_EXACT_AREA = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class VideoError(Exception):
    """One video cannot be used; the message says why and never holds a path."""


class DecodeError(VideoError):
    """A video file cannot be decoded."""


@dataclass(frozen=True)
class Video:
    """A video file that decodes from its first to its last frame, as often as asked."""

    path: Path
    """The file."""

    frame_rate_hz: float
    """Frames per second, from the time stamps of all frames."""

    height: int
    """Height of the picture, pixels."""

    width: int
    """Width of the picture, pixels."""

    num_frames: int
    """Frames that really decode, whatever the header says."""

    def pictures(
        self, *, size: tuple[int, int] | None = None, start: int = 0, step: int = 1
    ) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Pictures of the video, RGB.

        Args:
            size: Height and width to shrink them to, pixels; cheaper than shrinking them later.
            start: Frame to start with, counted from 0.
            step: Give every step-th frame.

        Raises:
            DecodeError: If the file cannot be decoded (any more).
        """
        height, width = size or (self.height, self.width)
        reformatter = VideoReformatter()
        for frame in islice(decode(self.path), start, None, step):
            # Exact rounding and one thread: the same pixels on every machine.
            rgb = reformatter.reformat(
                frame, width, height, "rgb24", interpolation=_EXACT_AREA, threads=1
            )
            yield rgb.to_ndarray()


def probe(path: Path) -> Video:
    """Decode a whole video once and say what it holds.

    Raises:
        DecodeError: If it holds no video stream or no frame, is truncated or damaged, or its
            picture size changes on the way.
    """
    seconds: list[float | None] = []
    size: tuple[int, int] | None = None
    for frame in decode(path):
        size = size or (frame.height, frame.width)
        if (frame.height, frame.width) != size:
            raise DecodeError(
                f"the picture size changes from {size[1]}x{size[0]} to "
                f"{frame.width}x{frame.height} at frame {len(seconds)}"
            )
        seconds.append(frame.time)
    if size is None:
        raise DecodeError("it holds no frame")
    announced, header_rate_hz = _header(path)
    if len(seconds) < _HEADER_SHARE * announced:
        raise DecodeError(f"it is truncated: {len(seconds)} of {announced} frames can be decoded")
    rate_hz = frame_rate_hz([s for s in seconds if s is not None]) or header_rate_hz
    if rate_hz is None:
        raise DecodeError("it has no frame rate")
    return Video(path, rate_hz, *size, len(seconds))


def frame_rate_hz(seconds: Sequence[float]) -> float | None:
    """Frames per second from time stamps; None if they do not say.

    The mean step evens out time stamps that are rounded to milliseconds; steps far from the
    median are dropped frames and do not count.
    """
    steps = np.diff(seconds)
    steps = steps[steps > 0]
    if not len(steps):
        return None
    usual = np.median(steps)
    return float(1 / steps[np.abs(steps - usual) < usual / 2].mean())


def decode(path: Path) -> Iterator[VideoFrame]:
    """Decoded frames of a file's first video stream, in the decoder's own pixel format.

    Raises:
        DecodeError: If the file is no video, or is truncated or damaged.
    """
    num_frames = 0
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(_video_stream(container)):
                yield frame
                num_frames += 1
    except (av.error.FFmpegError, OSError) as error:
        where = f"after frame {num_frames - 1} (truncated?)" if num_frames else "at its start"
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise DecodeError(f"it cannot be decoded {where}: {reason}") from None


def _video_stream(container: InputContainer) -> av.VideoStream:
    if not container.streams.video:
        raise DecodeError("it holds no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _header(path: Path) -> tuple[int, float | None]:
    """Number of frames (0: unknown) and frame rate that the container announces."""
    with av.open(str(path)) as container:
        stream = _video_stream(container)
        rate = stream.guessed_rate or stream.average_rate
        return stream.frames, float(rate) if rate else None
