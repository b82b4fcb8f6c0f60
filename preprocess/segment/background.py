"""Silhouettes as what differs from the scene of a camera that stands still."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from preprocess.crop import oversampling_of
from preprocess.decode import Video
from preprocess.method import Method, without_weights
from preprocess.people.track import Track
from preprocess.scene import Light, Scene, learn_scene, main_parts
from preprocess.segment.reach import reach_of
from preprocess.segment.segmenter import Segmenter

_BOX_ROOM = 0.12  # of the body's height, between the track's box and where its mask may reach


class BackgroundPerson:
    """A person segmented as what differs from the scene.

    Args:
        video: The video.
        track: Where the patient is in it.
        scene: What the camera sees without the person, on the video's shrunk grid.
        lights: How the light of every frame of the video differs from the scene's.
    """

    def __init__(self, video: Video, track: Track, scene: Scene, lights: Sequence[Light]) -> None:
        self.track = track
        self._picture = video.height, video.width
        self._scene = scene
        self._scale = np.float32(1 / video.shrink)
        self._lights = lights

    def masks(
        self,
        start: int,
        crops: UInt8[np.ndarray, "time size size 3"],
        windows: Float32[np.ndarray, "time 4"],
    ) -> UInt8[np.ndarray, "time size size"]:
        """Body (1) and surroundings (0) in crops of consecutive frames; see `Person.masks`."""
        masks = np.zeros(crops.shape[:3], np.uint8)
        in_scene = windows * self._scale
        oversampling = oversampling_of(in_scene, crops.shape[1])
        for place, (crop, window) in enumerate(zip(crops, windows, strict=True), start):
            box, number = self.track.boxes[place], int(self.track.frames[place])
            inside = reach_of(box, window, len(crop), self._picture, _BOX_ROOM)
            if not crop[inside].size:
                continue
            scene = self._scene.cut(in_scene[place - start], len(crop), oversampling, inside)
            silhouette = scene.silhouette(crop[inside], self._lights[number])
            masks[place - start][inside] = main_parts(silhouette)
        return masks


def segment_by_background(video: Video, track: Track) -> BackgroundPerson:
    """Learn the scene and give the track its silhouettes; see `Segmenter`."""
    scene = learn_scene(video)
    lights = [scene.light(picture) for picture in video.pictures(video.shrink)]
    return BackgroundPerson(video, track, scene, lights)


BACKGROUND: Method[Segmenter] = without_weights(
    "segment=background", lambda: segment_by_background, libraries=("opencv-python-headless",)
)
