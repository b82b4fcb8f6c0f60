"""The clip store: crops, masks, flow and tracks of all videos in one Zarr v3 hierarchy.

Layout (`schema` 2)::

    /                 attributes: schema, recipe, backends, weights_sha256 (by role); and, once a
                      run has finished, videos (the index), failures, digest
    /mark_<random>/   only while a cluster works on the store: nodes know it by this group;
                      attribute: made_at, seconds since 1970
    /weights/<role>   u8 [byte], weights of the network that finds people, segments or computes
                      flow (role: people, segment, flow), where the method has one;
                      attribute: sha256, written last
    /videos/<key>/    key = start of the source file's SHA-256; attributes: facts (see
                      `VideoFacts`), content_sha256 (of every array, by name), committed
        rgb           u8  [time, size, size, 3]    person-centred square
        mask          u8  [time, size, size]       1 = body
        flow          i16 [time - 1, size, size, 2] displacement to the next frame, x and y, in
                      steps of `quantised_flow.FLOW_STEP_PX`, a constant of the schema
        track         f32 [time, 4]                crop window x0, y0, x1, y1, source pixels
        presence      u8  [source time]            see `Presence`

A video is stored in stretches of consecutive source frames; no clip reaches across the end of one,
and the flow from its last frame to the first frame of the next stretch is zero.

A video's attributes are its last write and a single one. It is whole, and is listed in the index
when the run finishes, if its `committed` is the digest of the root's schema, recipe, backends and
weights_sha256: it was made in this very way.

Any number of processes may write different videos at the same time, each with its own
`StoreWriter`. Two at the same video do no harm where the same video gives the same bytes: nothing
is deleted to be written again.

What killed runs leave: a video begun is written over when its turn comes, and its temporary files
(`*.partial`) are removed then unless they are new; temporary files of the root and of the weights
are removed by `StoreWriter.finish` when they are an hour old. Videos that have left the labels
stay, are in neither index nor digest, and are found again when they come back.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

SCHEMA = 2


class Presence(IntEnum):
    """What is known of the patient in one frame of a source video."""

    ABSENT = 0
    """Not seen."""

    NEARBY = 1
    """Entering or leaving: out of the picture, while a square around the body reaches into it."""

    LEFT_OUT = 2
    """Seen but not stored: in part, together with another body, or for too short a time."""

    BRIDGED = 3
    """Stored although not seen: a short gap, interpolated."""

    SEEN = 4
    """Seen and stored."""


@dataclass(frozen=True)
class VideoFacts:
    """What is known of one stored video."""

    source_sha256: str
    """SHA-256 of the video file."""

    num_frames: int
    """Stored frames."""

    stretches: list[list[int]]
    """First frame in the source (counted from 0) and number of frames of every stored stretch."""

    frame_rate_hz: float
    """Frames per second."""

    source_frames: int
    """Frames in the source video."""

    source_height: int
    """Height of the source's pictures, pixels."""

    source_width: int
    """Width of the source's pictures, pixels."""

    person_share: float
    """Share of the source's frames in which the person was found, 0 to 1."""

    bridged_share: float
    """Share of the stored frames in which the person was not found but interpolated, 0 to 1."""

    num_people: int
    """People seen for long enough to be followed, the patient among them."""

    num_switches: int
    """Times that the patient's box changed its size too suddenly for a body: it held another body
    or a shadow as well, or a part of the patient. Such frames are not stored as seen."""


class PreparedFrame(NamedTuple):
    """One frame on its way into the store; the first frame has no flow to it."""

    rgb: UInt8[np.ndarray, "size size 3"]
    mask: UInt8[np.ndarray, "size size"]
    flow: Float32[np.ndarray, "size size 2"] | None
    window: Float32[np.ndarray, " 4"]


def video_key(source_sha256: str) -> str:
    """Name of a video's group in the store."""
    return source_sha256[:16]
