"""Video files to RGB pictures, streamed: nothing here holds more than one picture in memory."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from asd_experiments.data.video_file import (
    DEFAULT_BOUNDS,
    FEWEST_FRAMES,
    VideoBounds,
    header_refusal,
    header_seconds,
    open_video,
    video_stream,
)
from preprocess.picture import Converter, Orientation, deinterlaced, squared
from preprocess.scratch import MOST_KEPT_BYTES, close, room_for
from preprocess.timing import Timing, timing_of

_HEADER_SHARE = 0.9
_LAST_SECONDS = 0.2  # as long may the last frame last
_STAMP_IN_FILE_ORDER = {"avi"}  # its time stamps only number the packets
_TELL_ON_REQUEST = {"mjpeg"}  # decoders that repair damage and say so only if asked


class VideoError(Exception):
    """One video cannot be used; the message says why and never holds a path."""


class DecodeError(VideoError):
    """A video file cannot be decoded."""


@dataclass(frozen=True)
class Video:
    """A video file that decodes from its first to its last frame, as often as asked.

    Pictures are upright, deinterlaced and of square pixels, and come at one constant rate: frames
    are counted as they are used, see `Timing`.
    """

    path: Path
    """The file."""

    frame_rate_hz: float
    """Used frames per second."""

    height: int
    """Height of the upright picture, pixels."""

    width: int
    """Width of the upright picture, pixels."""

    num_frames: int
    """Used frames, all of which really decode, whatever the header says."""

    shrink: int
    """Factor by which the pictures that are at hand are shrunk; see `probe`."""

    kept: UInt8[np.ndarray, "time height width 3"] | None
    """All pictures, shrunk, in a temporary file; None if they would be too many."""

    timing: Timing
    """Which of the file's frames are used."""

    bounds: VideoBounds
    """What it keeps to."""

    def shrink_for(self, detail: float, *, enlarged: float) -> int:
        """Whole factor by which to shrink pictures of which not every pixel is needed.

        Args:
            detail: Source pixels for each pixel that is needed.
            enlarged: Factor by which a picture at hand may be enlarged, rather than decoded again.
        """
        detail = max(1.0, detail)
        return self.shrink if self.shrink <= enlarged * detail else int(detail)

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
        with closing(decode(self.path, self.bounds)) as frames:
            used = self.timing.used(frames, _seconds_of)
            convert = Converter(shrink, repeats=self.timing.resampled)
            yield from map(convert, islice(used, start, None, step))


def probe(
    path: Path,
    *,
    fps: float | None = None,
    least_height: int | None = None,
    bounds: VideoBounds = DEFAULT_BOUNDS,
) -> Video:
    """Decode a whole video once, say what it holds, and keep its pictures at hand, shrunk.

    Args:
        path: The file.
        fps: Frame rate to resample it to, by time stamp. None: its own usual rate; a video of
            nearly constant rate is then left as it is, see `timing_of`.
        least_height: Height about which the kept pictures shall have, pixels; the shrinking is by
            a whole factor. None: keep them unshrunk.
        bounds: What it must keep to, whatever its header says.

    Raises:
        DecodeError: If it holds no video stream or too few frames, is too large or too long,
            truncated or damaged, or its picture size changes on the way.
        ScratchError: If there is no room for the pictures.
    """
    header = _scan(path, bounds)
    timing = _timing(header, fps, bounds)
    with closing(_Keeper()) as keeper, closing(decode(path, bounds)) as decoded:
        counted = _Counted(decoded)
        (height, width), frames = _peeked(counted)
        shrink = max(1, round(height / (least_height or height)))
        convert = Converter(shrink, repeats=timing.resampled)
        num_used = 0
        for num_used, frame in enumerate(timing.used(frames, _seconds_of), 1):
            _refuse(bounds.length_refusal(num_used / timing.frame_rate_hz, num_used))
            if not keeper.full:
                keeper.append(convert(frame))
        _refuse(header.truncation(counted.count) or _too_few(num_used))
        kept, rate_hz = keeper.pictures(), timing.frame_rate_hz
        return Video(path, rate_hz, height, width, num_used, shrink, kept, timing, bounds)


def _peeked(frames: Iterator[VideoFrame]) -> tuple[tuple[int, int], Iterator[VideoFrame]]:
    """Height and width of the upright picture, and all frames, the first one too."""
    first = next(frames, None)
    if first is None:
        raise DecodeError("it holds no frame")
    return Orientation.of(first).size(first), chain([first], frames)


def decode(path: Path, bounds: VideoBounds = DEFAULT_BOUNDS) -> Generator[VideoFrame, None, None]:
    """Decoded frames of a file's video, deinterlaced, of square pixels, in the decoder's format.

    A damaged frame is refused: what a decoder puts in its place moves in ways nobody walked.
    Where a codec cannot tell (VP9, HEVC as a rule), damage goes unseen.

    Raises:
        DecodeError: If the file is no video, is truncated or damaged, or its picture size changes.
    """
    with _opened(path, bounds) as (container, stream):
        if stream.codec_context.name in _TELL_ON_REQUEST:
            stream.codec_context.options |= {"err_detect": "explode"}
        frames = _sound(container.decode(stream), bounds)
        yield from squared(deinterlaced(frames), stream.sample_aspect_ratio)


def _sound(frames: Iterator[VideoFrame], bounds: VideoBounds) -> Iterator[VideoFrame]:
    """Let frames pass that are whole, of one size and rotation, and within the bounds."""
    num_frames, size, rotation = 0, None, None
    try:
        for frame in frames:
            if frame.is_corrupt:
                raise DecodeError(f"frame {num_frames} is damaged; copy the file again")
            size = size or (frame.width, frame.height)
            if (frame.width, frame.height) != size:
                raise DecodeError(
                    f"the picture size changes from {size[0]}x{size[1]} to "
                    f"{frame.width}x{frame.height} at frame {num_frames}"
                )
            rotation = frame.rotation if rotation is None else rotation
            if frame.rotation != rotation:
                raise DecodeError(f"the picture's rotation changes at frame {num_frames}")
            _refuse(bounds.size_refusal(frame.height, frame.width))
            yield frame
            num_frames += 1
            _refuse(bounds.length_refusal(0.0, num_frames))
    except (av.error.FFmpegError, OSError) as error:
        if not num_frames:
            raise
        raise DecodeError(
            f"it cannot be decoded after frame {num_frames - 1} (truncated?): {_reason(error)}"
        ) from None


@contextmanager
def _opened(
    path: Path, bounds: VideoBounds, *, to_decode: bool = True
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file that its header does not rule out, and its video stream."""
    try:
        with open_video(str(path), to_decode=to_decode, bounds=bounds) as container:
            stream = video_stream(container)
            if stream is None:
                raise DecodeError("it holds no video stream")
            _refuse(header_refusal(container, stream, bounds))
            stream.thread_type = "NONE"  # workers share the cores, and a failure names its frame
            yield container, stream
    except (av.error.FFmpegError, OSError) as error:
        raise DecodeError(f"it cannot be decoded at its start: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What FFmpeg or the system says, without the path."""
    return getattr(error, "strerror", None) or type(error).__name__


def _refuse(reason: str | None) -> None:
    if reason:
        raise DecodeError(reason)


def _too_few(num_frames: int) -> str | None:
    if num_frames >= FEWEST_FRAMES:
        return None
    return f"it must hold at least {FEWEST_FRAMES} frames (flow needs pairs), got {num_frames}"


def _seconds_of(frame: VideoFrame) -> float | None:
    return frame.time


@dataclass(frozen=True)
class _Header:
    """What a file says about itself before it is decoded."""

    stamps: list[float | None]
    """Time stamps of all frames in the order of the file, seconds."""

    num_frames: int
    """Frames that it announces and does not cut off; 0 if it does not say."""

    seconds: float | None
    """Duration that it announces; None if it does not."""

    rate_hz: float | None
    """Frame rate that it announces; None if it does not."""

    def truncation(self, num_decoded: int) -> str | None:
        """Say how much is missing of what is announced; None if nothing is to speak of."""
        if self.num_frames:
            if num_decoded >= _HEADER_SHARE * self.num_frames:
                return None
            return f"it is truncated: {num_decoded} of {self.num_frames} frames can be decoded"
        known = [stamp for stamp in self.stamps if stamp is not None]
        if (
            not known
            or not self.seconds
            or max(known) >= _HEADER_SHARE * self.seconds - _LAST_SECONDS
        ):
            return None
        return f"it is truncated: it ends after {max(known):.1f} of {self.seconds:.1f} s"


def _scan(path: Path, bounds: VideoBounds) -> _Header:
    """Read all packets without decoding them, which would be a hundred times the work."""
    with _opened(path, bounds, to_decode=False) as (container, stream):
        announced = stream.frames
        if "mp4" in container.format.name and announced:
            announced = len(stream.index_entries)  # an edit list may leave out whole stretches
        packets = list(islice(_packets(container, stream), bounds.most_frames + 1))
        _refuse(bounds.length_refusal(0.0, len(packets)))
        rate = stream.guessed_rate or stream.average_rate
        return _Header(
            [stamp for stamp, is_cut_off in packets if not is_cut_off],
            announced - sum(is_cut_off for _, is_cut_off in packets),
            header_seconds(stream),
            float(rate) if rate else None,
        )


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[tuple[float | None, bool]]:
    """Time stamp of every packet, seconds, and whether the file says not to show it."""
    base = float(stream.time_base or 0)
    told = container.format.name not in _STAMP_IN_FILE_ORDER
    with suppress(av.error.FFmpegError):  # decoding says where
        for packet in container.demux(stream):
            if packet.size:
                stamp = packet.pts * base if told and packet.pts is not None else None
                yield stamp, packet.is_discard


def _timing(header: _Header, fps: float | None, bounds: VideoBounds) -> Timing:
    timing = timing_of(header.stamps, header_rate_hz=header.rate_hz, fps=fps)
    if timing is None:
        raise DecodeError("it has no frame rate")
    seconds = len(header.stamps) / timing.source_rate_hz
    if timing.resampled and timing.stamped:
        known = [stamp for stamp in header.stamps if stamp is not None]
        seconds = max(known) - min(known)
    _refuse(bounds.length_refusal(seconds, int(seconds * timing.frame_rate_hz)))
    return timing


class _Counted:
    """Frames, and how many have come."""

    def __init__(self, frames: Iterator[VideoFrame]) -> None:
        self._frames = frames
        self.count = 0

    def __iter__(self) -> Iterator[VideoFrame]:
        return self

    def __next__(self) -> VideoFrame:
        frame = next(self._frames)
        self.count += 1
        return frame


class _Keeper:
    """Writes pictures to a temporary file, up to a limit."""

    def __init__(self) -> None:
        with room_for("pictures"):
            self._file = TemporaryFile(prefix="pictures_")  # noqa: SIM115 - closed by `close`
        self._shape: tuple[int, ...] = ()
        self._count = 0
        self.full = False

    def append(self, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        self._shape = picture.shape
        self.full = (self._count + 1) * picture.nbytes > MOST_KEPT_BYTES
        if not self.full:
            with room_for("pictures"):
                self._file.write(np.ascontiguousarray(picture).data)
            self._count += 1

    def pictures(self) -> UInt8[np.ndarray, "time height width 3"] | None:
        """All pictures; their file lives as long as they do. None if they were too many."""
        if self.full:
            return None
        with room_for("pictures"):
            self._file.flush()
        return np.memmap(self._file, np.uint8, "r", shape=(self._count, *self._shape))

    def close(self) -> None:
        close(self._file)
