"""What a video file must keep to, and what its header says about it before anything is decoded."""

import errno
import hashlib
import re
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

MOST_SECONDS = 3600.0
"""Longest video, seconds. A walk takes seconds; an hour is a recording that nobody cut."""

LARGEST_SIDE_PX = 4096
"""Longest side of a picture, pixels: that of DCI 4K."""

FEWEST_FRAMES = 2
"""Fewest frames of a video: optical flow needs pairs."""

_START_BYTES = 4096
_TEXT = bytes([*b"\t\n\r\f", *range(0x20, 0x7F), *range(0x80, 0x100)])
_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_video(path: str, *, to_decode: bool = True) -> InputContainer:
    """Open a file so that a decoder refuses any picture larger than the bounds allow.

    Args:
        path: The file.
        to_decode: Whether frames will be decoded. If so, FFmpeg decodes the first ones while it
            opens the file, to learn what no header tells, such as the format of the pixels.

    Raises:
        OSError: If it is no video or cannot be read; `strerror` says why.
        av.error.FFmpegError: If FFmpeg fails otherwise; many of its errors are no OSError.
    """
    limit = {"max_pixels": str(LARGEST_SIDE_PX**2)}
    try:
        options = limit if to_decode else {**limit, "skip_frame": "all"}
        container = av.open(path, options=options, metadata_errors="replace")
    except av.error.InvalidDataError:
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


def header_refusal(container: InputContainer, stream: VideoStream) -> str | None:
    """Say why a video cannot be used, as far as its header tells; None if it can."""
    if stream.codec_context is None:
        return "its video codec is not known here; convert it to H.264"
    seconds = header_seconds(stream)
    if seconds is None and container.duration is not None:
        seconds = container.duration / av.time_base
    size = stream.height, stream.width
    return size_refusal(*size) or duration_refusal(seconds or 0.0)


def header_seconds(stream: VideoStream) -> float | None:
    """Duration that the header announces for the video stream, seconds; None if it does not."""
    if stream.duration is not None:
        return float(stream.duration * (stream.time_base or Fraction(0)))
    if found := _DURATION.match(stream.metadata.get("DURATION", "")):  # Matroska, WebM
        hours, minutes, seconds = found.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return None


def size_refusal(height: int, width: int) -> str | None:
    """Say that a picture is too large or unknown; None if it is not."""
    if not (height and width):
        return f"its picture size is unknown: damaged, or over {LARGEST_SIDE_PX} pixels a side"
    if max(height, width) <= LARGEST_SIDE_PX:
        return None
    return (
        f"its pictures must have at most {LARGEST_SIDE_PX} pixels a side, got {width}x{height}; "
        "scale it down"
    )


def duration_refusal(seconds: float) -> str | None:
    """Say that a video is too long; None if it is not."""
    if seconds <= MOST_SECONDS:
        return None
    return f"it must last {MOST_SECONDS:g} s at most, got {seconds:.6g} s; cut the walk out of it"
