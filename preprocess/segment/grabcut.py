"""Silhouettes by the colours inside and outside the box: no network, no still camera."""

import cv2
import numpy as np
from jaxtyping import UInt8

from preprocess.decode import Video
from preprocess.method import Method, without_weights
from preprocess.people.track import Track
from preprocess.scene import main_parts
from preprocess.segment.cropped import CroppedPerson, Reach
from preprocess.segment.segmenter import Segmenter

_BOX_ROOM = 0.02  # of the body's height, between the track's box and what is surely surroundings
_TRUNK = (0.3, 0.5), (0.45, 0.55)  # rows and columns of the box that are surely body
_ROUNDS = 5
_WHOLE = (0, 0, 1, 1)  # OpenCV asks for a rectangle and does not use it: the labels say it all


def segment_by_colour(video: Video, track: Track) -> CroppedPerson:
    """Tell the body from its surroundings by its colours in every crop; see `Segmenter`.

    References:
        Rother et al. 2004, https://doi.org/10.1145/1015706.1015720.
    """
    return CroppedPerson(video, track, segment_crops, _BOX_ROOM)


def segment_crops(
    crops: UInt8[np.ndarray, "time size size 3"], reaches: list[Reach]
) -> UInt8[np.ndarray, "time size size"]:
    """Body (1) and surroundings (0) of crops, each on its own.

    Args:
        crops: Pictures.
        reaches: Rows and columns of each that the body may cover.
    """
    masks = [_grabcut(crop, reach) for crop, reach in zip(crops, reaches, strict=True)]
    return np.stack(masks)


def _grabcut(
    crop: UInt8[np.ndarray, "size size 3"], reach: Reach
) -> UInt8[np.ndarray, "size size"]:
    labels = np.full(crop.shape[:2], cv2.GC_BGD, np.uint8)
    labels[reach] = cv2.GC_PR_FGD
    labels[_trunk_in(reach)] = cv2.GC_FGD
    if (labels == cv2.GC_BGD).mean() in (0, 1):  # nothing to tell apart
        return np.where(labels == cv2.GC_BGD, np.uint8(0), np.uint8(1))
    # The colours are clustered from random starts: the same for every crop, wherever it stands.
    cv2.setRNGSeed(0)
    body, surroundings = np.zeros((2, 1, 65))
    cv2.grabCut(crop, labels, _WHOLE, surroundings, body, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    body_labels = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return main_parts(body_labels.astype(np.float32))


def _trunk_in(reach: Reach) -> Reach:
    """Rows and columns of the trunk, without which colours alone may call everything surroundings.

    Silhouettes of people who walk, run or step sideways (Weizmann) cover this part of their box in
    98 of 100 frames.
    """
    rows, columns = (
        slice(round(side.start + low * length), round(side.start + high * length))
        for side, (low, high) in zip(reach, _TRUNK, strict=True)
        for length in [side.stop - side.start]
    )
    return rows, columns


GRABCUT: Method[Segmenter] = without_weights(
    "segment=grabcut", lambda: segment_by_colour, libraries=("opencv-python-headless",)
)
