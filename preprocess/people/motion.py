"""Find the one thing that moves in front of a camera that stands still; no network, no weights.

The background is what every pixel shows most steadily over the whole video, so a person who stands
there when the video begins does not become part of it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from preprocess.crop import cut
from preprocess.decode import Video
from preprocess.people.track import Detection, Track, follow

_BACKGROUND_HEIGHT = 720
_BACKGROUND_SAMPLES = 30
_STEADY_SHARE = 0.45  # of the samples must show the background
_DETECTION_HEIGHT = 216
_CONTRAST = 14  # grey levels by which a body differs from its background
_DARK = 8.0  # added to both sides of every ratio: two almost black pixels are alike
_SHADOW_GAIN = (0.45, 1.05)  # brightness that a shadow or a reflection leaves
_SHADOW_COLOUR = 0.10  # change of colour relative to brightness, at most
_SHADOW_EDGE = 0.05  # change of log brightness per pixel, at most
_SMALLEST_BODY = 0.12  # of the picture's height
_SMALLEST_PART = 0.04  # of the main part's difference, summed
_SMALLEST_GAP = 0.0015  # of the picture's area: smaller openings in a body are filled
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))  # odd: an even one shifts the outline
_BOX_ROOM = 0.12  # of the body's height, between the track's box and where its mask may reach


@dataclass(frozen=True)
class Scene:
    """What the camera sees without the person."""

    picture: UInt8[np.ndarray, "height width 4"]
    """RGB, and the difference above which a pixel shows something else, grey levels."""

    def resized(self, height: int, width: int) -> "Scene":
        """The same scene on another grid."""
        return Scene(cv2.resize(self.picture, (width, height), interpolation=cv2.INTER_AREA))

    def cut(self, window: Float32[np.ndarray, " 4"], size: int, oversampling: int) -> "Scene":
        """The same scene inside a window, given in this picture's pixels."""
        return Scene(cut(self.picture, window, size, oversampling))

    def light(self, picture: UInt8[np.ndarray, "height width 3"]) -> Float32[np.ndarray, " 3"]:
        """Brightness of a picture relative to the scene, per channel."""
        return light_change(picture, self.picture[..., :3])

    def silhouette(
        self, picture: UInt8[np.ndarray, "height width 3"], light: Float32[np.ndarray, " 3"]
    ) -> Float32[np.ndarray, "height width"]:
        """What in a picture does not belong to the scene: its difference from the scene, else 0.

        A soft shadow or a reflection dims the scene without changing its colour, and fades out
        gradually. So the surroundings are grown through everything of that kind until they meet
        an edge; what they do not reach is body, its own dim parts included.

        Args:
            picture: RGB on the scene's grid.
            light: Brightness of the picture relative to the scene, per channel.
        """
        seen = picture / light
        there = self.picture[..., :3].astype(np.float32)
        difference = _length(cv2.GaussianBlur(seen - there, (3, 3), 0))
        different = difference > self.picture[..., 3]
        gain = cv2.GaussianBlur((_grey(seen) + _DARK) / (_grey(there) + _DARK), (5, 5), 1)
        colour = _length((seen + _DARK) - gain[..., None] * (there + _DARK)) / (_grey(seen) + _DARK)
        slope = cv2.log(gain)
        edge = cv2.magnitude(
            cv2.Sobel(slope, cv2.CV_32F, 1, 0, scale=1 / 8),
            cv2.Sobel(slope, cv2.CV_32F, 0, 1, scale=1 / 8),
        )
        low, high = _SHADOW_GAIN
        soft = edge < _SHADOW_EDGE
        shadow = soft & (gain > low) & (gain < high) & (colour < _SHADOW_COLOUR)
        body = _sharpened(_unreached(different, shadow), difference)
        return np.where(body, np.maximum(difference, 1), np.float32(0))


class MovingPerson:
    """A person found as what differs from the scene."""

    def __init__(
        self, video: Video, track: Track, scene: Scene, lights: list[Float32[np.ndarray, " 3"]]
    ) -> None:
        self.track = track
        self._picture = video.height, video.width
        self._scene = scene
        self._scale = np.float32(len(scene.picture) / video.height)
        self._lights = lights

    def mask(
        self,
        number: int,
        crop: UInt8[np.ndarray, "size size 3"],
        window: Float32[np.ndarray, " 4"],
        oversampling: int,
    ) -> UInt8[np.ndarray, "size size"]:
        """Body (1) and surroundings (0) in a crop; see `Person.mask`."""
        size = len(crop)
        scene = self._scene.cut(window * self._scale, size, oversampling)
        silhouette = scene.silhouette(crop, self._lights[number])
        box = self.track.boxes[number - self.track.first_frame]
        place = _box_in_crop(box, window, size, self._picture)
        mask = np.zeros((size, size), np.uint8)
        mask[place] = main_parts(silhouette[place])
        return mask


def find_moving_person(video: Video) -> MovingPerson:
    """Find the largest and longest moving body in a video; see `PersonFinder`."""
    scale = min(1.0, _BACKGROUND_HEIGHT / video.height)
    scene = learn_scene(video, round(video.height * scale), round(video.width * scale))
    lights: list[Float32[np.ndarray, " 3"]] = []
    seen = _detections(video, scene, lights)
    track = follow(seen, frame_rate_hz=video.frame_rate_hz, width=video.width)
    return MovingPerson(video, track, scene, lights)


def learn_scene(video: Video, height: int, width: int) -> Scene:
    """Learn the scene without the person from frames spread over the whole video.

    Args:
        video: Any video whose camera stands still.
        height: Height of the result, pixels.
        width: Width of the result, pixels.
    """
    step = math.ceil(video.num_frames / _BACKGROUND_SAMPLES)
    samples = np.stack(list(video.pictures(size=(height, width), start=step // 2, step=step)))
    reference = samples[len(samples) // 2].copy()
    for sample in samples:
        light = light_change(sample, reference)
        sample[:] = np.clip(np.rint(sample / light), 0, 255)
    picture = np.empty((height, width, 3), np.float32)
    spread = np.empty((height, width, 3), np.float32)
    for row in range(height):
        picture[row], spread[row] = steadiest(samples[:, row])
    noise = cv2.blur(spread.mean(axis=2), (5, 5))
    threshold = np.maximum(_CONTRAST, 4 * noise)
    return Scene(np.dstack([picture, threshold]).round().clip(0, 255).astype(np.uint8))


def steadiest(
    samples: UInt8[np.ndarray, "sample width 3"],
) -> tuple[Float32[np.ndarray, "width 3"], Float32[np.ndarray, "width 3"]]:
    """Centre and width of the narrowest range that holds a share of every pixel's samples.

    A body that passes shows many colours, the wall behind it one: unlike the median, this finds
    the wall even if the body hides it more than half of the time.
    """
    ordered = np.sort(samples, axis=0)
    reach = max(1, int(_STEADY_SHARE * len(samples)))
    spreads = ordered[reach:] - ordered[:-reach] if len(samples) > reach else ordered[:1] * 0
    start = spreads.argmin(axis=0, keepdims=True)
    low = np.take_along_axis(ordered, start, axis=0)[0]
    spread = np.take_along_axis(spreads, start, axis=0)[0].astype(np.float32)
    return low + spread / 2, spread


def light_change(
    picture: UInt8[np.ndarray, "height width 3"], reference: UInt8[np.ndarray, "height width 3"]
) -> Float32[np.ndarray, " 3"]:
    """Brightness of a picture relative to another, per channel; a body hardly matters."""
    step = max(1, len(picture) // 48)
    ratio = (picture[::step, ::step] + _DARK) / (reference[::step, ::step] + _DARK)
    return np.median(ratio.reshape(-1, 3), axis=0).astype(np.float32)


def _detections(
    video: Video, scene: Scene, lights: list[Float32[np.ndarray, " 3"]]
) -> Iterator[list[Detection]]:
    """Bodies in every frame, found on a smaller picture; the light of every frame as well."""
    scale = min(1.0, _DETECTION_HEIGHT / video.height)
    height, width = round(video.height * scale), round(video.width * scale)
    small = scene.resized(height, width)
    to_source = np.array([video.width / width, video.height / height] * 2, np.float32)
    for picture in video.pictures(size=(height, width)):
        lights.append(small.light(picture))
        bodies = _bodies(small.silhouette(picture, lights[-1]))
        yield [Detection(box * to_source, area / (height * width)) for box, area in bodies]


def _bodies(
    silhouette: Float32[np.ndarray, "height width"],
) -> Iterator[tuple[Float32[np.ndarray, " 4"], int]]:
    """Box and area of every group of parts that is tall enough to be a body."""
    height = len(silhouette)
    reach = np.ones((max(3, height // 18), max(3, height // 45)))
    joined = cv2.morphologyEx((silhouette > 0).astype(np.uint8), cv2.MORPH_CLOSE, reach)
    _, groups, stats, _ = cv2.connectedComponentsWithStats(joined)
    for group, (x, y, w, h, _) in enumerate(stats.tolist()):
        if group == 0 or h < _SMALLEST_BODY * height:
            continue
        place = slice(y, y + h), slice(x, x + w)
        body = main_parts(np.where(groups[place] == group, silhouette[place], 0))
        inner_x, inner_y, inner_w, inner_h = cv2.boundingRect(body)
        if inner_h >= _SMALLEST_BODY * height:
            left, top = x + inner_x, y + inner_y
            box = np.array([left, top, left + inner_w, top + inner_h], np.float32)
            yield box, int(body.sum())


def main_parts(
    silhouette: Float32[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width"]:
    """The parts (1) of a silhouette that stand out against the scene, without its crumbs.

    A crumb is small beside the main part, or pale: a part counts by its summed difference.
    """
    num, parts = cv2.connectedComponents((silhouette > 0).astype(np.uint8))
    weights = np.bincount(parts.ravel(), silhouette.ravel(), num)
    kept = (weights >= _SMALLEST_PART * weights.max()) & (weights > 0)
    return np.asarray(kept.astype(np.uint8)[parts])


def _length(vectors: Float32[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "height width"]:
    return cv2.sqrt(cv2.transform(vectors * vectors, np.ones((1, 3), np.float32)))


def _grey(picture: Float32[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "height width"]:
    return cv2.transform(picture, np.full((1, 3), 1 / 3, np.float32))


def _unreached(
    different: Bool[np.ndarray, "height width"], shadow: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width"]:
    """Pixels that the surroundings do not reach through shadows; small openings are filled."""
    passable = (~different | shadow).astype(np.uint8)
    num, parts, _, _ = cv2.connectedComponentsWithStats(passable, connectivity=4)
    clear_area = np.bincount(parts[~different], minlength=num)
    surroundings = clear_area >= _SMALLEST_GAP * different.size
    surroundings[0] = False
    return (~surroundings[parts]).astype(np.uint8)


def _sharpened(
    body: UInt8[np.ndarray, "height width"], difference: Float32[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width"]:
    """Put the outline where the difference is half of what it is just inside the body."""
    reach = np.ones((5, 5))
    rim = body > cv2.erode(body, reach)
    faint = difference < 0.5 * cv2.dilate(difference, reach)
    sharp = np.where(rim & faint, np.uint8(0), body)
    return cv2.morphologyEx(sharp, cv2.MORPH_OPEN, _CROSS)


def _box_in_crop(
    box: Float32[np.ndarray, " 4"],
    window: Float32[np.ndarray, " 4"],
    size: int,
    picture: tuple[int, int],
) -> tuple[slice, slice]:
    """Rows and columns of a crop that the body may cover; none of them beyond the picture."""
    room = _BOX_ROOM * (box[3] - box[1])
    scale = size / (window[2] - window[0])
    low = np.maximum(box[:2] - room, 0)
    high = np.minimum(box[2:] + room, picture[::-1])
    start = np.clip(np.rint((low - window[:2]) * scale), 0, size).astype(int)
    stop = np.clip(np.rint((high - window[:2]) * scale), 0, size).astype(int)
    return slice(start[1], stop[1]), slice(start[0], stop[0])
