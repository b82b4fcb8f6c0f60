"""Short films of what is stored: crops with the body mask beside the optical flow."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from jaxtyping import UInt8

from asd_experiments.data.array_writer import CHUNK_FRAMES
from asd_experiments.data.store import ClipStore
from preprocess.film_strip import fastest_px, flow_colours, outlined, resized
from preprocess.quality import source_frames

LONGEST_SECONDS = 10.0
"""Length of a film; the videos of the published study are no longer."""

_LEAST_SIDE_PX = 224  # of a picture that can be judged without enlarging it


def write_overlay(store: ClipStore, facts: Mapping[Any, Any], path: Path) -> None:
    """Write the start of one stored video as H.264 in an MP4 file.

    Every picture carries the number of its frame in the source video, counted from 0.

    Args:
        store: A finished clip store.
        facts: The video's record in the store's index.
        path: File to write.
    """
    rate = Fraction(facts["frame_rate_hz"]).limit_denominator(1001)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.height = max(_LEAST_SIDE_PX, store.size)
        stream.width = 2 * stream.height
        for picture in _pictures(store, facts, stream.height):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _pictures(
    store: ClipStore, facts: Mapping[Any, Any], side: int
) -> Iterator[UInt8[np.ndarray, "side width 3"]]:
    numbers = source_frames(facts)
    stop = min(len(numbers), round(LONGEST_SECONDS * facts["frame_rate_hz"]))
    for start in range(0, stop, CHUNK_FRAMES):
        last = min(start + CHUNK_FRAMES, stop)
        frames = store.read(facts["key"], start, min(last + 1, len(numbers)))
        for place in range(last - start):
            crop = outlined(frames.rgb[place], frames.mask[place], side)
            motion = np.zeros_like(crop)
            if place < len(frames.flow):
                colours = flow_colours(frames.flow[place], fastest_px(store.size))
                motion = resized(colours, side)
            picture = np.concatenate([crop, motion], axis=1)
            yield _numbered(picture, int(numbers[start + place]))


def _numbered(
    picture: UInt8[np.ndarray, "side width 3"], number: int
) -> UInt8[np.ndarray, "side width 3"]:
    text, corner = str(number), (6, len(picture) - 8)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA
        )
    return picture
