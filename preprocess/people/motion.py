"""Find the one thing that moves in front of a camera that stands still; no network, no weights."""

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from scipy.ndimage import find_objects

from preprocess.decode import Video
from preprocess.method import Method, without_weights
from preprocess.people.finder import PersonFinder
from preprocess.people.track import Detection, follow
from preprocess.scene import Light, Scene, learn_scene, main_parts
from preprocess.segment.background import BackgroundPerson

_DETECTION_HEIGHT = 160  # at least, where the pictures at hand have it
_SMALLEST_BODY = 0.12  # of the picture's height
_WIDEST_BODY = 0.9  # of its own height
_LOW = 0.2  # of the body's height: lower things are not upright


def find_moving_person(video: Video) -> BackgroundPerson:
    """Find the body that moves through a video; see `PersonFinder`."""
    scene = learn_scene(video)
    lights: list[Light] = []
    seen = _detections(video, scene, lights)
    track = follow(seen, frame_rate_hz=video.frame_rate_hz, width=video.width)
    return BackgroundPerson(video, track, scene, lights)


def _detections(video: Video, scene: Scene, lights: list[Light]) -> Iterator[list[Detection]]:
    """Bodies in every frame, found on a smaller picture; the light of every frame as well."""
    step = max(1, len(scene.picture) // _DETECTION_HEIGHT)
    shrunk = _shrunk(scene.picture, step)
    small = Scene(shrunk, shrunk.shape[0] * shrunk.shape[1])
    to_source = np.float32(step * video.shrink)
    for kept in video.pictures(video.shrink):
        picture = _shrunk(kept, step)
        lights.append(small.light(picture))
        bodies = _bodies(small.silhouette(picture, lights[-1]))
        yield [Detection(box * to_source) for box in bodies]


def _shrunk(
    picture: UInt8[np.ndarray, "height width channels"], step: int
) -> UInt8[np.ndarray, "small_height small_width channels"]:
    """A picture on a grid `step` times as coarse; rows and columns that fill no pixel are lost."""
    height, width = len(picture) // step, picture.shape[1] // step
    means = cv2.blur(picture, (step, step), anchor=(0, 0))
    whole = means[: height * step, : width * step]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_NEAREST))


def _bodies(
    silhouette: Float32[np.ndarray, "height width"],
) -> Iterator[Float32[np.ndarray, " 4"]]:
    """Box of every group of parts that is tall enough to be a body."""
    height = len(silhouette)
    reach = np.ones((max(3, height // 18), max(3, height // 45)))
    joined = cv2.morphologyEx((silhouette > 0).astype(np.uint8), cv2.MORPH_CLOSE, reach)
    _, groups = cv2.connectedComponents(joined)
    for group, place in enumerate(find_objects(groups), start=1):
        rows, columns = place
        if rows.stop - rows.start < _SMALLEST_BODY * height:
            continue
        body = main_parts(np.where(groups[place] == group, silhouette[place], 0))
        inner_x, inner_y, inner_w, inner_h = cv2.boundingRect(_upright(body))
        if inner_h >= _SMALLEST_BODY * height:
            left, top = columns.start + inner_x, rows.start + inner_y
            yield np.array([left, top, left + inner_w, top + inner_h], np.float32)


def _upright(body: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """A body without the long low things that cling to it, such as the edge of the floor."""
    height, width = body.shape
    if width <= _WIDEST_BODY * height:
        return body
    tall = body.sum(axis=0) >= _LOW * height
    left, right = np.flatnonzero(tall)[[0, -1]] if tall.any() else (0, width - 1)
    room = int(_WIDEST_BODY * height / 4)
    upright = np.zeros_like(body)
    kept = slice(max(0, int(left) - room), int(right) + room + 1)
    upright[:, kept] = body[:, kept]
    return upright


MOTION: Method[PersonFinder] = without_weights(
    "people=motion", lambda: find_moving_person, libraries=("opencv-python-headless",)
)
