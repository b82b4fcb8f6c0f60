"""Contact sheets: what preprocessing made of a video, at a glance."""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from asd_experiments.data.store import ClipStore

_OUTLINE = (0, 255, 0)
_FASTEST_PX = 8.0


def contact_sheet(store: ClipStore, key: str, columns: int = 8) -> UInt8[np.ndarray, "h w 3"]:
    """Crops with the mask's outline, masks, and flow as colour, spread over one video.

    Args:
        store: A finished clip store.
        key: The video's key in the index.
        columns: Frames to show.

    Returns:
        RGB picture of three rows; in the third, hue is the direction of the flow and brightness
        its speed.
    """
    num_frames = len(store.track(key))
    numbers = np.linspace(0, num_frames - 2, columns).round().astype(int).tolist()
    shown = [store.read(key, number, number + 2) for number in numbers]
    crops = [outlined(frames.rgb[0], frames.mask[0]) for frames in shown]
    masks = [np.repeat(frames.mask[0][..., None] * np.uint8(255), 3, axis=2) for frames in shown]
    flows = [flow_colours(frames.flow[0]) for frames in shown]
    return np.concatenate([np.concatenate(row, axis=1) for row in (crops, masks, flows)])


def outlined(
    picture: UInt8[np.ndarray, "size size 3"], mask: UInt8[np.ndarray, "size size"]
) -> UInt8[np.ndarray, "size size 3"]:
    """A copy of a picture with the mask's outline on it."""
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(picture.copy(), contours, -1, _OUTLINE, 1)


def flow_colours(flow: Float32[np.ndarray, "size size 2"]) -> UInt8[np.ndarray, "size size 3"]:
    """Flow as RGB: hue is its direction, brightness its speed."""
    speed, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1], angleInDegrees=True)
    full = np.full_like(speed, 255)
    colours = np.stack([angle / 2, full, np.minimum(speed / _FASTEST_PX, 1) * 255], axis=2)
    return cv2.cvtColor(colours.astype(np.uint8), cv2.COLOR_HSV2RGB)
