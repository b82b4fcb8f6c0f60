"""Tiny video files of every kind."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

_USUAL = {
    "libx265": {"x265-params": "log-level=none"},
    "mpeg4": {"qmin": "1", "qmax": "2"},
}


def encode(
    path: Path,
    pictures: Iterable[np.ndarray | av.VideoFrame],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int | Fraction = 25,
    milliseconds: Sequence[int] | None = None,
    rotation: tuple[int, bool, bool] | None = None,
    aspect: Fraction | None = None,
    colours: tuple[int, int] | None = None,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
) -> Path:
    """Write RGB pictures; skip the test where this build of FFmpeg lacks the encoder."""
    if codec not in av.codec.codecs_available:
        pytest.skip(f"this build of FFmpeg has no encoder {codec}")
    with av.open(str(path), "w", options=dict(container_options or {})) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.pix_fmt = pixels
        stream.codec_context.thread_count = 1
        stream.options = {**_USUAL.get(codec, {}), **(options or {})}
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if colours is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colours
        for number, picture in enumerate(pictures):
            frame = picture
            if isinstance(picture, np.ndarray):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if number == 0:
                stream.height, stream.width = frame.height, frame.width
            frame.pts, frame.time_base = number, 1 / Fraction(rate)
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbered(num_frames: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """Grey pictures whose brightness tells their number, up to 40; read it by `number_of`."""
    return [np.full((height, width, 3), 20 + 5 * n, np.uint8) for n in range(num_frames)]


def number_of(picture: np.ndarray) -> int:
    return round((float(picture.mean()) - 20) / 5)


def quarters(height: int, width: int) -> np.ndarray:
    """Four colours, one in each corner."""
    picture = np.empty((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    picture[:top, :left] = 220, 40, 40
    picture[:top, left:] = 40, 200, 40
    picture[top:, :left] = 40, 40, 220
    picture[top:, left:] = 200, 200, 200
    return picture


def damage(path: Path, first: float, last: float, num_bytes: int) -> Path:
    """Change bytes between two shares of a file."""
    content = bytearray(path.read_bytes())
    places = np.random.default_rng(0).integers(
        int(first * len(content)), int(last * len(content)), num_bytes
    )
    for place in places:
        content[place] ^= 0x55
    path.write_bytes(content)
    return path
