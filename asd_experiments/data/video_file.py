"""What a video file must keep to, and what its header says about it before anything is decoded."""

import errno
import hashlib
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

FEWEST_FRAMES = 2
"""Fewest frames of a video: optical flow needs pairs."""

CONTAINERS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "asf", "flv", "ogg", "mxf", "gxf", "dv", "nut"),
    *("mpegvideo", "m4v", "h264", "hevc", "vvc", "vc1", "av1", "obu", "ivf", "mjpeg", "gif"),
    *("wtv", "rm", "yuv4mpegpipe"),
)
"""Kinds of file that hold a video, as FFmpeg names them.

It reads others too: playlists (`hls`, `concat`) that name files and addresses to read in their
stead, drawings, and plain text. No video of a walk is one, and no stranger shall name a file.
"""

_START_BYTES = 4096
_TEXT = bytes([*b"\t\n\r\f", *range(0x20, 0x7F), *range(0x80, 0x100)])
_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class VideoBounds:
    """What a video must keep to."""

    most_seconds: float = 3600.0
    """Longest video, seconds. A walk takes seconds; an hour is a recording that nobody cut."""

    most_frames: int = 1_000_000
    """Most frames. An hour at 240 Hz has fewer; a tiny file can hold or claim any number."""

    largest_side_px: int = 4096
    """Longest side of a picture, pixels: that of DCI 4K."""

    def size_refusal(self, height: int, width: int) -> str | None:
        """Say that a picture is too large or unknown; None if it is not."""
        most = self.largest_side_px
        if not (height and width):
            return f"its picture size is unknown: damaged, or over {most} pixels a side"
        if max(height, width) <= most:
            return None
        return (
            f"its pictures must have at most {most} pixels a side, got {width}x{height}; "
            "scale it down"
        )

    def length_refusal(self, seconds: float, num_frames: int) -> str | None:
        """Say that a video is too long, or has too many frames; None if neither."""
        if seconds > self.most_seconds:
            return (
                f"it must last {self.most_seconds:g} s at most, got {seconds:.6g} s; "
                "cut the walk out of it"
            )
        if num_frames > self.most_frames:
            return (
                f"it must have {self.most_frames} frames at most, got {num_frames} or more; "
                "cut the walk out of it"
            )
        return None


DEFAULT_BOUNDS = VideoBounds()
"""Bounds of a user's own videos."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_video(
    path: str, *, to_decode: bool = True, bounds: VideoBounds = DEFAULT_BOUNDS
) -> InputContainer:
    """Open a file so that a decoder refuses any picture larger than the bounds allow.

    Only a file of the `CONTAINERS` is opened, and no other file for its sake.

    Args:
        path: The file.
        bounds: What the video must keep to.
        to_decode: Whether frames will be decoded. If so, FFmpeg decodes the first ones while it
            opens the file, to learn what no header tells, such as the format of the pixels.

    Raises:
        OSError: If it is no video or cannot be read; `strerror` says why.
        av.error.FFmpegError: If FFmpeg fails otherwise; many of its errors are no OSError.
    """
    limit = {"max_pixels": str(bounds.largest_side_px**2)}
    try:
        options = limit if to_decode else {**limit, "skip_frame": "all"}
        kinds = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
        container = av.open(path, options={**options, **kinds}, metadata_errors="replace")
    except (av.error.InvalidDataError, av.error.ArgumentError):  # the latter: no such container
        raise OSError(errno.EINVAL, _what_it_is(Path(path))) from None
    for stream in container.streams.video:
        if stream.codec_context is not None:
            stream.codec_context.options = dict(limit)
    return container


def _what_it_is(path: Path) -> str:
    """What a file is that FFmpeg takes for no video."""
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    if not start:
        return "the file is empty; copy it again"
    if not start.translate(None, delete=_TEXT):
        return "it is a text file, not a video"
    if not start.strip(b"\0"):
        return "it begins with zeros, as incomplete copies do; copy it again"
    return "it is not a video, or only a part of one: no header of a video is in it"


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first video stream that is no cover picture; None if there is none."""
    streams = container.streams.video
    return next((s for s in streams if not s.disposition & Disposition.attached_pic), None)


def header_refusal(
    container: InputContainer, stream: VideoStream, bounds: VideoBounds
) -> str | None:
    """Say why a video cannot be used, as far as its header tells; None if it can."""
    if stream.codec_context is None:
        return "its video codec is not known here; convert it to H.264"
    seconds = header_seconds(stream)
    if seconds is None and container.duration is not None:
        seconds = container.duration / av.time_base
    return bounds.size_refusal(
        stream.height, squared_width(stream.width, stream.sample_aspect_ratio)
    ) or bounds.length_refusal(seconds or 0.0, stream.frames)


def squared_width(width: int, aspect: Fraction | None) -> int:
    """Width of a picture once its pixels are square.

    Args:
        width: Width of the stored picture, pixels.
        aspect: Width of a pixel in heights of a pixel; None if square.
    """
    return round(width * aspect) if aspect else width


def header_seconds(stream: VideoStream) -> float | None:
    """Duration that the header announces for the video stream, seconds; None if it does not."""
    if stream.duration is not None:
        return float(stream.duration * (stream.time_base or Fraction(0)))
    if found := _DURATION.match(stream.metadata.get("DURATION", "")):  # Matroska, WebM
        hours, minutes, seconds = found.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return None
