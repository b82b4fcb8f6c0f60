"""What a camera that stands still sees without the person, and what differs from it.

The background is what every pixel shows most steadily over the whole video, so a person who stands
there when the video begins does not become part of it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from preprocess.crop import cut
from preprocess.decode import Video

_BACKGROUND_SAMPLES = 30
_ROWS_AT_A_TIME = 16  # few enough that their samples stay in the processor's cache
_STEADY_SHARE = 0.45  # of the samples must show the background
_CONTRAST = 14  # grey levels by which a body differs from its background
_DARK = 8.0  # added to both sides of every ratio: two almost black pixels are alike
_SHADOW_GAIN = (0.45, 1.05)  # brightness that a shadow or a reflection leaves
_SHADOW_COLOUR = 0.10  # change of colour relative to brightness, at most
_SHADOW_EDGE = 0.05  # change of log brightness per pixel, at most
_SMALLEST_PART = 0.04  # of the main part's difference, summed
_SMALLEST_GAP = 0.0015  # of the picture's area: smaller openings in a body are filled
_FILTER_REACH = 3  # pixels, of what tells shadows and sharpens the outline
_TRUSTED = 1.5  # times the median error of a fit of the light
_MEDIAN_STEP = 4  # every so many points are enough for a median
_UNIFORM = 25.0  # variance of a scene, grey levels squared, below which its contrast says little
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))  # odd: an even one shifts the outline

Light = Float32[np.ndarray, "2 3"]
"""Gain and offset (grey levels) by which a picture differs from the scene, per channel."""


@dataclass(frozen=True)
class Scene:
    """What the camera sees without the person."""

    picture: UInt8[np.ndarray, "height width 4"]
    """RGB, and the difference above which a pixel shows something else, grey levels."""

    area: int
    """Pixels of the whole picture that this one may be a part of."""

    def cut(
        self,
        window: Float32[np.ndarray, " 4"],
        size: int,
        oversampling: int,
        part: tuple[slice, slice],
    ) -> "Scene":
        """The same scene in a part of a window, given in this picture's pixels; see `cut`."""
        return Scene(cut(self.picture, window, size, oversampling, part=part), size * size)

    def light(self, picture: UInt8[np.ndarray, "height width 3"]) -> Light:
        """How a picture's light differs from the scene's."""
        return light_change(picture, self.picture[..., :3])

    def silhouette(
        self, picture: UInt8[np.ndarray, "height width 3"], light: Light
    ) -> Float32[np.ndarray, "height width"]:
        """What in a picture does not belong to the scene: its difference from the scene, else 0.

        A soft shadow or a reflection dims the scene without changing its colour, and fades out
        gradually. So the surroundings are grown through everything of that kind until they meet
        an edge; what they do not reach is body, its own dim parts included.

        Args:
            picture: RGB on the scene's grid.
            light: How the picture's light differs from the scene's.
        """
        seen = cv2.LUT(picture, _levels(light) + _DARK)
        difference = _length(cv2.GaussianBlur(seen - self._colours, (3, 3), 0))
        different = difference > self._threshold
        smallest_gap = _SMALLEST_GAP * self.area
        near = _near(different, smallest_gap)
        shadow = _shadow(seen[near], self._colours[near], self._brightness[near])
        unreached = _unreached(different[near], shadow, smallest_gap)
        body = _sharpened(unreached, difference[near])
        silhouette = np.zeros_like(difference)
        silhouette[near] = np.maximum(difference[near], 1) * body
        return silhouette

    @cached_property
    def _colours(self) -> Float32[np.ndarray, "height width 3"]:
        return cv2.cvtColor(self.picture, cv2.COLOR_RGBA2RGB) + np.float32(_DARK)

    @cached_property
    def _brightness(self) -> Float32[np.ndarray, "height width"]:
        return _grey(self._colours)

    @cached_property
    def _threshold(self) -> Float32[np.ndarray, "height width"]:
        return self.picture[..., 3].astype(np.float32)


def learn_scene(video: Video) -> Scene:
    """Learn the scene without the person, on the video's shrunk grid, from frames all over it.

    Args:
        video: Any video whose camera stands still.
    """
    step = math.ceil(video.num_frames / _BACKGROUND_SAMPLES)
    samples = np.stack(list(video.pictures(video.shrink, start=step // 2, step=step)))
    height, width = samples.shape[1:3]
    reference = samples[len(samples) // 2].copy()
    for sample in samples:
        levels = _levels(light_change(sample, reference))
        sample[:] = cv2.LUT(sample, levels.round().clip(0, 255).astype(np.uint8))
    picture = np.empty((height, width, 3), np.float32)
    spread = np.empty((height, width, 3), np.float32)
    for row in range(0, height, _ROWS_AT_A_TIME):
        rows = slice(row, row + _ROWS_AT_A_TIME)
        picture[rows], spread[rows] = steadiest(samples[:, rows])
    noise = cv2.blur(_grey(spread), (5, 5))
    threshold = np.maximum(_CONTRAST, 4 * noise)
    learnt = np.dstack([picture, threshold]).round().clip(0, 255).astype(np.uint8)
    return Scene(learnt, height * width)


def steadiest(
    samples: UInt8[np.ndarray, "sample height width 3"],
) -> tuple[Float32[np.ndarray, "height width 3"], Float32[np.ndarray, "height width 3"]]:
    """Centre and width of the narrowest range that holds a share of every pixel's samples.

    A body that passes shows many colours, the wall behind it one: unlike the median, this finds
    the wall even if the body hides it more than half of the time.
    """
    ordered = _in_order(samples.reshape(len(samples), len(samples[0]), -1))
    reach = max(1, int(_STEADY_SHARE * len(samples)))
    low, spread = ordered[0].copy(), np.full_like(ordered[0], 255 if len(samples) > reach else 0)
    for lower, upper in zip(ordered, ordered[reach:], strict=False):
        range_ = cv2.subtract(upper, lower)
        cv2.copyTo(lower, cv2.compare(range_, spread, cv2.CMP_LT), low)
        spread = cv2.min(range_, spread)
    width = spread.reshape(samples.shape[1:]).astype(np.float32)
    return low.reshape(samples.shape[1:]) + width / 2, width


def _in_order(samples: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Samples of every pixel from the smallest to the largest.

    Batcher's merge exchange sorts all pixels at once: 30 samples of 8 rows of 640 pixels in 0.35 ms
    where `np.sort` takes 6.6 ms.

    References:
        Knuth 1998, The Art of Computer Programming 3, section 5.2.2, algorithm M.
    """
    ordered = list(samples)
    top = 1 << ((len(ordered) - 1).bit_length() - 1) if len(ordered) > 1 else 0
    step = top
    while step:
        jump, offset, distance = top, 0, step
        while True:
            for low in range(len(ordered) - distance):
                if low & step == offset:
                    one, other = ordered[low], ordered[low + distance]
                    ordered[low] = np.minimum(one, other)
                    ordered[low + distance] = np.maximum(one, other)
            if jump == step:
                break
            distance, jump, offset = jump - step, jump // 2, step
        step //= 2
    return ordered


def light_change(
    picture: UInt8[np.ndarray, "height width 3"], reference: UInt8[np.ndarray, "height width 3"]
) -> Light:
    """How a picture's light differs from another's; a body hardly matters.

    A camera that sets its exposure by itself changes gain and black level. Both are fitted on a
    coarse grid, three times, each time without the points that the last fit explains worst.
    """
    seen, there = _points(picture), _points(reference)
    ratios = (seen[:, ::_MEDIAN_STEP] + _DARK) / (there[:, ::_MEDIAN_STEP] + _DARK)
    gain, offset = _median(ratios), np.zeros(3, np.float32)
    for _ in range(3):
        error = np.abs(seen - gain[:, None] * there - offset[:, None]).sum(axis=0)
        trusted = error <= _TRUSTED * _median(error[::_MEDIAN_STEP])
        gain, offset = _line(there, seen, trusted.astype(np.float32))
    return np.stack([gain, offset])


def _points(
    picture: UInt8[np.ndarray, "height width 3"],
) -> Float32[np.ndarray, "3 point"]:
    step = max(1, round(len(picture) / 48))
    return np.ascontiguousarray(picture[::step, ::step].reshape(-1, 3).T).astype(np.float32)


def _median(
    values: Float32[np.ndarray, "*channel point"],
) -> Float32[np.ndarray, "*channel"]:
    """Median over the last axis; `np.median` takes twice as long for as few values."""
    places = (values.shape[-1] - 1) // 2, values.shape[-1] // 2
    ordered = np.partition(values, places)
    return np.asarray((ordered[..., places[0]] + ordered[..., places[1]]) / 2)


def _line(
    there: Float32[np.ndarray, "3 point"],
    seen: Float32[np.ndarray, "3 point"],
    weight: Float32[np.ndarray, " point"],
) -> tuple[Float32[np.ndarray, " 3"], Float32[np.ndarray, " 3"]]:
    """Gain and offset per channel; where a scene is too uniform to tell, the offset is small."""
    weight = weight / weight.sum()
    mean_there, mean_seen = there @ weight, seen @ weight
    weighted = (there - mean_there[:, None]) * weight
    variance = np.einsum("cp,cp->c", weighted, there)
    together = np.einsum("cp,cp->c", weighted, seen)
    without_offset = (mean_seen + _DARK) / (mean_there + _DARK)
    gain = (together + _UNIFORM * without_offset) / (variance + _UNIFORM)
    return gain, mean_seen - gain * mean_there


def _levels(light: Light) -> Float32[np.ndarray, "256 1 3"]:
    """What every grey level of a picture would be in the scene's light, per channel."""
    gain, offset = light
    levels: np.ndarray = (np.arange(256, dtype=np.float32)[:, None] - offset) / gain
    return levels[:, None]


def main_parts(
    silhouette: Float32[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width"]:
    """The parts (1) of a silhouette that stand out against the scene, without its crumbs.

    A crumb is small beside the main part, or pale: a part counts by its summed difference.
    """
    there = silhouette > 0
    num, parts = cv2.connectedComponents(there.astype(np.uint8))
    weights = np.bincount(parts[there], silhouette[there], num)
    kept = (weights >= _SMALLEST_PART * weights.max()) & (weights > 0)
    return np.asarray(kept.astype(np.uint8)[parts])


def _length(vectors: Float32[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "height width"]:
    return cv2.sqrt(cv2.transform(vectors * vectors, np.ones((1, 3), np.float32)))


def _grey(picture: Float32[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "height width"]:
    return cv2.transform(picture, np.full((1, 3), 1 / 3, np.float32))


def _near(different: Bool[np.ndarray, "height width"], smallest_gap: float) -> tuple[slice, slice]:
    """Rows and columns around all that differs: what lies beyond is surroundings, unseen.

    The surroundings in them are as wide as filters reach, and too large for a gap on every side.
    """
    room = math.ceil(smallest_gap / min(math.sqrt(smallest_gap), *different.shape))
    room = max(_FILTER_REACH, room)
    x, y, width, height = cv2.boundingRect(different.view(np.uint8))
    return (
        slice(max(0, y - room), y + height + room),
        slice(max(0, x - room), x + width + room),
    )


def _shadow(
    seen: Float32[np.ndarray, "height width 3"],
    there: Float32[np.ndarray, "height width 3"],
    brightness: Float32[np.ndarray, "height width"],
) -> Bool[np.ndarray, "height width"]:
    """Where a picture is a dimmed scene, or one brightened a little, and no edge runs.

    Args:
        seen: The picture in the scene's light, RGB.
        there: The scene, RGB.
        brightness: Mean of the scene's channels.
    """
    grey = _grey(seen)
    gain = cv2.GaussianBlur(grey / brightness, (5, 5), 1)
    colour = _length(seen - cv2.merge([gain] * 3) * there) / grey
    slope = cv2.log(gain)
    edge = cv2.magnitude(
        cv2.Sobel(slope, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(slope, cv2.CV_32F, 0, 1, scale=1 / 8),
    )
    low, high = _SHADOW_GAIN
    soft = edge < _SHADOW_EDGE
    shadow: np.ndarray = soft & (gain > low) & (gain < high) & (colour < _SHADOW_COLOUR)
    return shadow


def _unreached(
    different: Bool[np.ndarray, "height width"],
    shadow: Bool[np.ndarray, "height width"],
    smallest_gap: float,
) -> UInt8[np.ndarray, "height width"]:
    """Pixels that the surroundings do not reach through shadows; small openings are filled."""
    passable = (~different | shadow).astype(np.uint8)
    num, parts = cv2.connectedComponents(passable, connectivity=4)
    clear_area = np.bincount(parts[~different], minlength=num)
    unreached = clear_area < smallest_gap
    unreached[0] = True
    return np.asarray(np.take(unreached.astype(np.uint8), parts))


def _sharpened(
    body: UInt8[np.ndarray, "height width"], difference: Float32[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width"]:
    """Put the outline where the difference is half of what it is just inside the body."""
    reach = np.ones((5, 5))
    rim = body > cv2.erode(body, reach)
    faint = difference < 0.5 * cv2.dilate(difference, reach)
    sharp = body * ~(rim & faint)
    return cv2.morphologyEx(sharp, cv2.MORPH_OPEN, _CROSS)
