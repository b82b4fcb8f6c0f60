"""Pictures to a film that browsers play."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import UInt8


def write_film(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]], frame_rate_hz: float, path: Path
) -> None:
    """Write pictures as H.264 in an MP4 file.

    Args:
        pictures: RGB, at least one, all of the same size, whose sides are even.
        frame_rate_hz: Pictures per second.
        path: File to write.
    """
    rate = Fraction(frame_rate_hz).limit_denominator(1001)
    pictures = iter(pictures)
    first = next(pictures)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.height, stream.width = first.shape[:2]
        for picture in chain([first], pictures):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def numbered(
    picture: UInt8[np.ndarray, "height width 3"], number: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Write a number into the lower left corner of a picture, and return it."""
    text, corner = str(number), (6, len(picture) - 8)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA
        )
    return picture
