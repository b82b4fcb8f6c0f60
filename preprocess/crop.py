"""The square, person-centred window that is cut out of every frame, and the cutting itself."""

import math

import cv2
import numpy as np
from jaxtyping import Float, Float32, Shaped
from scipy.ndimage import maximum_filter1d, median_filter

_OUTLIER_SECONDS = 0.2


def smooth_windows(
    boxes: Float32[np.ndarray, "time 4"],
    *,
    frame_rate_hz: float,
    margin: float,
    smoothing_seconds: float,
) -> Float32[np.ndarray, "time 4"]:
    """Turn the boxes around a body into square windows that move and grow smoothly.

    A jump of the window is indistinguishable from a jump of the body once optical flow is
    computed, so the centre is smoothed with a zero-phase window. The side follows the largest box
    of the neighbourhood rather than the mean, so that smoothing never cuts off a foot.

    Args:
        boxes: x0, y0, x1, y1 of the body in every frame, source pixels.
        frame_rate_hz: Frames per second.
        margin: Room on each side of the body, as a share of its height.
        smoothing_seconds: Width of the smoothing window, seconds.

    Returns:
        x0, y0, x1, y1 of the windows, source pixels; they may reach beyond the picture.
    """
    width = _odd(smoothing_seconds * frame_rate_hz)
    steady = _without_outliers(boxes.astype(float), _odd(_OUTLIER_SECONDS * frame_rate_hz))
    centre = smooth((steady[:, :2] + steady[:, 2:]) / 2, width)
    reach = np.maximum(centre - steady[:, :2], steady[:, 2:] - centre).max(axis=1)
    half_side = reach + margin * (steady[:, 3] - steady[:, 1])
    # The maximum over as many frames as the mean weights: no mean is below its own frame.
    envelope = maximum_filter1d(half_side, 2 * width - 1, mode="nearest")
    half_side = smooth(envelope[:, None], 2 * width - 1, odd=False)
    return np.concatenate([centre - half_side, centre + half_side], axis=1).astype(np.float32)


def smooth(
    path: Float[np.ndarray, "time axis"], width: int, *, odd: bool = True
) -> Float[np.ndarray, "time axis"]:
    """Smooth a path over time without delaying it.

    Args:
        path: One value per frame and axis.
        width: Frames under the Hann window, odd.
        odd: Continue the path beyond its ends with the slope it has there (a walk goes on)
            instead of turning back.

    Returns:
        The smoothed path; a straight path at constant speed comes back unchanged.
    """
    window = np.hanning(width + 2)[1:-1]
    half = width // 2
    around = [(half, half), (0, 0)]
    padded = np.pad(path, around, mode="reflect", reflect_type="odd" if odd else "even")
    columns = [np.convolve(column, window / window.sum(), "valid") for column in padded.T]
    return np.stack(columns, axis=1)


def cut(
    picture: Shaped[np.ndarray, "height width *channels"],
    window: Float32[np.ndarray, " 4"],
    size: int,
    oversampling: int = 1,
    *,
    part: tuple[slice, slice] | None = None,
) -> Shaped[np.ndarray, "rows columns *channels"]:
    """Sample a window of a picture on a square grid, at sub-pixel positions.

    A shrunk picture aliases when it is read at single points: then the window is read on a grid
    `oversampling` times as fine and averaged. Beyond its border the picture's outermost pixels
    are repeated: black would put an edge there that moves when the window does.

    Args:
        picture: Source picture, one or more channels.
        window: x0, y0, x1, y1, source pixels; pixel i reaches from i to i + 1.
        size: Rows and columns of the grid.
        oversampling: Samples per pixel of the grid along each axis, see `oversampling_of`.
        part: Rows and columns of the grid to sample. None: all of them.
    """
    rows, columns = part or (slice(0, size), slice(0, size))
    shape = columns.stop - columns.start, rows.stop - rows.start
    fine = shape[0] * oversampling, shape[1] * oversampling
    (x0, y0), side = window[:2].astype(float), (window[2:] - window[:2]).astype(float)
    step_x, step_y = side / (size * oversampling)
    first_x = x0 + (columns.start * oversampling + 0.5) * step_x - 0.5
    first_y = y0 + (rows.start * oversampling + 0.5) * step_y - 0.5
    # OpenCV samples four channels in less than half of the time that it takes for three.
    of_colours = picture.ndim == 3 and picture.shape[2] == 3
    sampled = cv2.warpAffine(
        cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA) if of_colours else picture,
        np.array([[step_x, 0, first_x], [0, step_y, first_y]]),
        fine,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if oversampling > 1:
        sampled = cv2.resize(sampled, shape, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(sampled, cv2.COLOR_RGBA2RGB) if of_colours else sampled


def oversampling_of(windows: Float32[np.ndarray, "time 4"], size: int) -> int:
    """Samples per stored pixel and axis that keep a video's crops free of aliasing."""
    return max(1, math.ceil(float((windows[:, 2] - windows[:, 0]).max()) / size))


def _without_outliers(
    boxes: Float[np.ndarray, "time 4"], width: int
) -> Float[np.ndarray, "time 4"]:
    """Remove single wrong boxes; the ends of a walk are kept as they are."""
    half = min(width // 2, len(boxes) - 1)
    padded = np.pad(boxes, [(half, half), (0, 0)], mode="reflect", reflect_type="odd")
    filtered: np.ndarray = median_filter(padded, size=(2 * half + 1, 1))
    return filtered[half : half + len(boxes)]


def _odd(frames: float) -> int:
    return 2 * round(frames / 2) + 1
