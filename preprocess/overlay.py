"""Short films of what is stored: crops with the body mask beside the optical flow."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from asd_experiments.data.array_writer import CHUNK_FRAMES
from asd_experiments.data.store import ClipStore
from preprocess.film import numbered, write_film
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
    side = max(_LEAST_SIDE_PX, store.size)
    write_film(_pictures(store, facts, side), facts["frame_rate_hz"], path)


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
            yield numbered(picture, int(numbers[start + place]))
