"""Decoded frames to RGB pictures as a viewer would see them."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import cv2
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import Shaped, UInt8

_EXACT = Interpolation.AREA | Interpolation.BITEXACT
_RGB, _BT709, _UNSPECIFIED = 0, 1, 2  # ITU-T H.273, table 4
_SD_WIDTH, _SD_HEIGHT = 1280, 576  # below and up to: standard definition
_SQUARE = Fraction(1, 100)  # pixels off square by less are square


@dataclass(frozen=True)
class Orientation:
    """How a camera was held: what makes its pictures upright."""

    transposed: bool
    """Rows become columns, first of all."""

    flip_rows: bool
    """The last row comes first."""

    flip_columns: bool
    """The last column comes first."""

    @classmethod
    def of(cls, frame: VideoFrame) -> "Orientation":
        """Read it from a frame's display matrix, to the nearest quarter turn.

        The matrix takes a pixel at x, y to a x + c y, b x + d y.

        References:
            ISO/IEC 14496-12, section 6.2.2.
        """
        side_data = cast(SideDataContainer, frame.side_data)
        if Type.DISPLAYMATRIX not in side_data:
            return _UPRIGHT
        matrix = bytes(side_data[Type.DISPLAYMATRIX])
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, b < 0, c < 0)
        return cls(False, d < 0, a < 0)

    def size(self, frame: VideoFrame) -> tuple[int, int]:
        """Height and width of a frame when it is upright."""
        return (frame.width, frame.height) if self.transposed else (frame.height, frame.width)

    def apply(self, picture: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Turn a picture upright."""
        if self == _UPRIGHT:
            return picture
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        rows, columns = (-1 if flip else 1 for flip in (self.flip_rows, self.flip_columns))
        return np.ascontiguousarray(picture[::rows, ::columns])


_UPRIGHT = Orientation(False, False, False)


class Converter:
    """Makes upright RGB pictures of decoded frames, shrunk by a whole factor.

    The planes are shrunk before the colours are converted: a fraction of the work.

    Args:
        shrink: The factor.
        repeats: Whether a frame may come several times in a row; it is then converted once.
    """

    def __init__(self, shrink: int, *, repeats: bool = False) -> None:
        self._shrink = shrink
        self._repeats = repeats
        self._orientation: Orientation | None = None
        self._reformatter = VideoReformatter()
        self._last: tuple[VideoFrame, UInt8[np.ndarray, "height width 3"]] | None = None

    def __call__(self, frame: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
        """Convert a frame of a video, all of whose frames are oriented alike."""
        if not self._repeats:
            return self._picture(frame)
        if self._last is None or self._last[0] is not frame:
            self._last = frame, self._picture(frame)
        return self._last[1]

    def _picture(self, frame: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
        # Read once: a frame whose side data was looked at is freed late, and its memory with it.
        self._orientation = orientation = self._orientation or Orientation.of(frame)
        _name_colours(frame)
        if self._shrink > 1:
            frame = self._shrunk(self._reformatted(frame, "yuv420p"), orientation)
            return self._reformatted(frame, "rgb24").to_ndarray()
        return orientation.apply(self._reformatted(frame, "rgb24").to_ndarray())

    def _reformatted(self, frame: VideoFrame, pixels: str) -> VideoFrame:
        # Exact rounding and one thread: the same pixels on every machine.
        return self._reformatter.reformat(frame, format=pixels, interpolation=_EXACT, threads=1)

    def _shrunk(self, frame: VideoFrame, orientation: Orientation) -> VideoFrame:
        height, width = (side // self._shrink for side in orientation.size(frame))
        small = VideoFrame(width, height, "yuv420p")
        small.colorspace, small.color_range = frame.colorspace, frame.color_range
        for source, target in zip(frame.planes, small.planes, strict=True):
            rows, columns = target.height * self._shrink, target.width * self._shrink
            picture = cv2.resize(
                orientation.apply(_plane(source))[:rows, :columns],
                (target.width, target.height),
                interpolation=cv2.INTER_AREA,
            )
            _plane(target)[:] = picture
        return small


def _name_colours(frame: VideoFrame) -> None:
    """Give a frame that does not tell its colours those that its size is made with.

    References:
        ITU-R BT.601 (standard definition) and BT.709 (high definition).
    """
    short, long = sorted((frame.height, frame.width))
    if frame.colorspace == _UNSPECIFIED and (long >= _SD_WIDTH or short > _SD_HEIGHT):
        frame.colorspace = _BT709


def _plane(plane: VideoPlane) -> UInt8[np.ndarray, "height width"]:
    rows = np.asarray(memoryview(plane)).reshape(plane.height, -1)
    return rows[:, : plane.width]


def deinterlaced(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Fill the missing lines of frames that say they are interlaced; one frame for each."""
    graph = None
    for frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        graph = graph or _deinterlacer(frame)
        graph.vpush(frame)
        yield from _ready(graph)
    if graph is not None:
        graph.vpush(None)
        yield from _ready(graph)


def _deinterlacer(frame: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    fill = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, fill, graph.add("buffersink")).configure()
    return graph


def _ready(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def squared(frames: Iterator[VideoFrame], aspect: Fraction | None) -> Iterator[VideoFrame]:
    """Stretch frames sideways so that their pixels are square.

    Args:
        frames: Decoded frames.
        aspect: Width of a pixel in heights of a pixel; None if square.
    """
    if not aspect or abs(aspect - 1) < _SQUARE:
        yield from frames
        return
    reformatter = VideoReformatter()
    for frame in frames:
        yield reformatter.reformat(
            frame, width=round(frame.width * aspect), interpolation=_EXACT, threads=1
        )
