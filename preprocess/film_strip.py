"""Film strips: what preprocessing made of a video, at a glance."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from asd_experiments.data.store import ClipStore
from preprocess.heads import without_faces

YELLOW = (255, 220, 0)  # on a black edge it is seen on every wall
_EDGE = (0, 0, 0)
_FASTEST_SHARE = 1 / 28  # 8 pixels at 224
_WEBP_QUALITY = 75


def fastest_px(size: int) -> float:
    """Speed that is drawn at full brightness, stored pixels per frame."""
    return size * _FASTEST_SHARE


def spread_frames(stretches: Sequence[slice], columns: int) -> list[int]:
    """Numbers of stored frames, evenly spread, from each of which flow leads to the next one."""
    with_flow = np.concatenate([np.arange(s.start, s.stop - 1) for s in stretches])
    places = np.linspace(0, len(with_flow) - 1, min(columns, len(with_flow)))
    return [int(number) for number in with_flow[places.round().astype(int)]]


def film_strip(
    store: ClipStore, key: str, numbers: Sequence[int], side: int, *, faces: bool = False
) -> UInt8[np.ndarray, "height width 3"]:
    """Crops with the mask's outline, and below them the flow as colour.

    Args:
        store: A finished clip store.
        key: The video's key in the index.
        numbers: Stored frames to show, see `spread_frames`.
        side: Side of each picture, pixels.
        faces: Whether to show what may hold a face.

    Returns:
        RGB picture of two rows, one column per frame.
    """
    columns = []
    for number in numbers:
        frames = store.read(key, number, number + 2)
        crop, body = frames.rgb[0], frames.mask[0]
        columns.append(
            np.concatenate(
                [
                    outlined(crop if faces else without_faces(crop, body), body, side),
                    resized(flow_colours(frames.flow[0], fastest_px(store.size)), side),
                ]
            )
        )
    return np.concatenate(columns, axis=1)


def outlined(
    picture: UInt8[np.ndarray, "size size 3"],
    mask: UInt8[np.ndarray, "size size"],
    side: int,
    colour: tuple[int, int, int] = YELLOW,
) -> UInt8[np.ndarray, "{side} {side} 3"]:
    """A picture in another size with the mask's outline on it.

    Args:
        picture: RGB.
        mask: Body (1) and surroundings (0), on the picture's grid.
        side: Side of the result, pixels.
        colour: RGB of the outline.
    """
    shown = resized(picture, side)
    body = cv2.resize(mask, (side, side), interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(body, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(shown, outlines, -1, _EDGE, 2)
    return np.asarray(cv2.drawContours(shown, outlines, -1, colour, 1))


def flow_colours(
    flow: Float32[np.ndarray, "size size 2"], fastest_px: float
) -> UInt8[np.ndarray, "size size 3"]:
    """Flow as RGB: hue is its direction, brightness its speed.

    Args:
        flow: Displacement to the next frame, pixels; channel 0 is x, channel 1 is y.
        fastest_px: Speed from which on the brightness is full, pixels per frame; see `fastest_px`.
    """
    speed, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1], angleInDegrees=True)
    full = np.full_like(speed, 255)
    colours = np.stack([angle / 2, full, np.minimum(speed / fastest_px, 1) * 255], axis=2)
    return np.asarray(cv2.cvtColor(colours.astype(np.uint8), cv2.COLOR_HSV2RGB))


def colour_wheel(side: int) -> UInt8[np.ndarray, "{side} {side} 3"]:
    """Legend of `flow_colours`: every direction, slow in the middle and fast at the rim."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    flow = np.stack(np.meshgrid(axis, axis), axis=2)
    wheel = flow_colours(flow, 1.0)
    wheel[np.hypot(flow[..., 0], flow[..., 1]) > 1] = 0
    return wheel


def webp(picture: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """An RGB picture as a WebP file."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, content = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY])
    return bytes(content)


def resized(
    picture: UInt8[np.ndarray, "height width 3"], side: int
) -> UInt8[np.ndarray, "{side} {side} 3"]:
    """A picture in another size.

    Args:
        picture: RGB; one that is not square is squeezed.
        side: Side of the result, pixels.
    """
    shrinks = side < len(picture)
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=method))
