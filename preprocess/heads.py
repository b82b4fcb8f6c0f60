"""Pictures of people without their faces: what may hold one is made of a few large squares."""

import cv2
import numpy as np
from jaxtyping import UInt8

_SHARE_OF_BODY = 0.4  # a bent or dropped head is still in the upper two fifths of the body's height
_SHARE_OF_PICTURE = 0.45  # where the mask is wrong: the crop is made around the body
_SQUARES = 12  # along a side: a face, a tenth of the crop, is not as large as one of them


def without_faces(
    picture: UInt8[np.ndarray, "size size 3"], mask: UInt8[np.ndarray, "size size"]
) -> UInt8[np.ndarray, "size size 3"]:
    """Pixelate everything that is as high as the head, over the whole width of a stored crop.

    The whole width, because who stands behind the patient has a face as well; from the top edge,
    because the mask may have missed the head; never less than the upper part of the crop, because
    it may have missed more. Where there is no mask, nobody knows where the head is, and all is
    pixelated.

    Args:
        picture: RGB, a crop around the body.
        mask: Body (1) and surroundings (0).
    """
    size = len(picture)
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size:
        body = rows[0] + _SHARE_OF_BODY * (rows[-1] + 1 - rows[0])
        end = int(np.ceil(max(body, _SHARE_OF_PICTURE * size)))
    else:
        end = size
    few = cv2.resize(picture, (_SQUARES, _SQUARES), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(few, (size, size), interpolation=cv2.INTER_NEAREST)
    return np.concatenate([coarse[:end], picture[end:]])
