"""Video files to RGB pictures, streamed: nothing here holds more than one picture in memory."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import UInt8

_HEADER_SHARE = 0.9
_MOST_KEPT_BYTES = 2**30
_EXACT = Interpolation.AREA | Interpolation.BITEXACT


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

    shrink: int
    """Factor by which the pictures that are at hand are shrunk; see `probe`."""

    kept: UInt8[np.ndarray, "time height width 3"] | None
    """All pictures, shrunk, in a temporary file; None if they would be too many."""

    def pictures(
        self, shrink: int = 1, *, start: int = 0, step: int = 1
    ) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Pictures of the video, RGB.

        Those at `Video.shrink` are at hand as a rule; any others are decoded again.

        Args:
            shrink: Whole factor by which to shrink them. Up to `shrink` - 1 rows and columns that
                do not fill a pixel are left out at the bottom and on the right.
            start: Frame to start with, counted from 0.
            step: Give every step-th frame.

        Raises:
            DecodeError: If the file cannot be decoded (any more).
        """
        if self.kept is not None and shrink == self.shrink:
            yield from self.kept[start::step]
            return
        convert = _Converter(shrink)
        for frame in islice(decode(self.path), start, None, step):
            yield convert(frame)


def probe(path: Path, *, least_height: int | None = None) -> Video:
    """Decode a whole video once, say what it holds, and keep its pictures at hand, shrunk.

    Args:
        path: The file.
        least_height: Height about which the kept pictures shall have, pixels; the shrinking is by
            a whole factor. None: keep them unshrunk.

    Raises:
        DecodeError: If it holds no video stream or no frame, is truncated or damaged, or its
            picture size changes on the way.
    """
    seconds: list[float | None] = []
    with closing(_Keeper()) as keeper:
        size: tuple[int, int] | None = None
        for frame in decode(path):
            if size is None:
                size = frame.height, frame.width
                shrink = max(1, round(frame.height / (least_height or frame.height)))
                convert = _Converter(shrink)
            if (frame.height, frame.width) != size:
                raise DecodeError(
                    f"the picture size changes from {size[1]}x{size[0]} to "
                    f"{frame.width}x{frame.height} at frame {len(seconds)}"
                )
            if not keeper.full:
                keeper.append(convert(frame))
            seconds.append(frame.time)
        if size is None:
            raise DecodeError("it holds no frame")
        announced, header_rate_hz = _header(path)
        if len(seconds) < _HEADER_SHARE * announced:
            raise DecodeError(
                f"it is truncated: {len(seconds)} of {announced} frames can be decoded"
            )
        rate_hz = frame_rate_hz([s for s in seconds if s is not None]) or header_rate_hz
        if rate_hz is None:
            raise DecodeError("it has no frame rate")
        return Video(path, rate_hz, *size, len(seconds), shrink, keeper.pictures())


class _Keeper:
    """Writes pictures to a temporary file, up to a limit."""

    def __init__(self) -> None:
        self._file = TemporaryFile(prefix="pictures_")  # noqa: SIM115 - closed by `close`
        self._shape: tuple[int, ...] = ()
        self._count = 0
        self.full = False

    def append(self, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        self._shape = picture.shape
        self.full = (self._count + 1) * picture.nbytes > _MOST_KEPT_BYTES
        if not self.full:
            self._file.write(np.ascontiguousarray(picture).data)
            self._count += 1

    def pictures(self) -> UInt8[np.ndarray, "time height width 3"] | None:
        """All pictures; their file lives as long as they do. None if they were too many."""
        if self.full:
            return None
        self._file.flush()
        return np.memmap(self._file, np.uint8, "r", shape=(self._count, *self._shape))

    def close(self) -> None:
        self._file.close()


class _Converter:
    """Makes RGB pictures of decoded frames, shrunk by a whole factor.

    The planes are shrunk before the colours are converted: a fraction of the work.
    """

    def __init__(self, shrink: int) -> None:
        self._shrink = shrink
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
        if self._shrink > 1:
            frame = self._shrunk(self._reformatted(frame, "yuv420p"))
        # Exact rounding and one thread: the same pixels on every machine.
        return self._reformatted(frame, "rgb24").to_ndarray()

    def _reformatted(self, frame: VideoFrame, pixels: str) -> VideoFrame:
        return self._reformatter.reformat(frame, format=pixels, interpolation=_EXACT, threads=1)

    def _shrunk(self, frame: VideoFrame) -> VideoFrame:
        height, width = frame.height // self._shrink, frame.width // self._shrink
        small = VideoFrame(width, height, "yuv420p")
        small.colorspace, small.color_range = frame.colorspace, frame.color_range
        for source, target in zip(frame.planes, small.planes, strict=True):
            rows, columns = target.height * self._shrink, target.width * self._shrink
            picture = cv2.resize(
                _plane(source)[:rows, :columns],
                (target.width, target.height),
                interpolation=cv2.INTER_AREA,
            )
            _plane(target)[:] = picture
        return small


def _plane(plane: VideoPlane) -> UInt8[np.ndarray, "height width"]:
    rows = np.asarray(memoryview(plane)).reshape(plane.height, -1)
    return rows[:, : plane.width]


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
