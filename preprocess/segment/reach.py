"""Where in a crop the tracked body may be."""

import numpy as np
from jaxtyping import Float32


def reach_of(
    box: Float32[np.ndarray, " 4"],
    window: Float32[np.ndarray, " 4"],
    size: int,
    picture: tuple[int, int],
    room: float,
) -> tuple[slice, slice]:
    """Rows and columns of a crop that the body may cover; none of them beyond the picture.

    Args:
        box: x0, y0, x1, y1 around the body, source pixels.
        window: x0, y0, x1, y1 of the crop, source pixels.
        size: Side of the crop, pixels.
        picture: Height and width of the source picture, pixels.
        room: Room on each side of the box, as a share of its height.
    """
    room_px = room * (box[3] - box[1])
    scale = size / (window[2] - window[0])
    low = np.maximum(box[:2] - room_px, 0)
    high = np.minimum(box[2:] + room_px, picture[::-1])
    start = np.clip(np.rint((low - window[:2]) * scale), 0, size).astype(int)
    stop = np.clip(np.rint((high - window[:2]) * scale), 0, size).astype(int)
    return slice(start[1], stop[1]), slice(start[0], stop[0])
