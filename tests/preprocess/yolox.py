"""An independent judge of where the person is: YOLOX-nano through OpenCV."""

from pathlib import Path

import cv2
import numpy as np

_SIDE = 416
_PERSON = 0


class Yolox:
    def __init__(self, file: Path) -> None:
        self._network = cv2.dnn.readNetFromONNX(str(file))
        cells = [
            np.stack([*np.meshgrid(np.arange(n), np.arange(n)), np.full((n, n), stride)], axis=-1)
            for stride in (8, 16, 32)
            for n in [_SIDE // stride]
        ]
        self._cells = np.concatenate([c.reshape(-1, 3) for c in cells])

    def person(self, picture: np.ndarray) -> tuple[np.ndarray, float]:
        """Box (x0, y0, x1, y1, source pixels) and score of the most likely person in RGB."""
        height, width = picture.shape[:2]
        scale = _SIDE / max(height, width)
        padded = np.full((_SIDE, _SIDE, 3), 114, np.uint8)
        small = cv2.resize(picture, (round(width * scale), round(height * scale)))
        padded[: small.shape[0], : small.shape[1]] = small[..., ::-1]
        self._network.setInput(padded.transpose(2, 0, 1)[None].astype(np.float32))
        found = self._network.forward()[0]
        score = found[:, 4] * found[:, 5 + _PERSON]
        best = int(score.argmax())
        cell = self._cells[best]
        centre = (found[best, :2] + cell[:2]) * cell[2] / scale
        half = np.exp(found[best, 2:4]) * cell[2] / scale / 2
        return np.concatenate([centre - half, centre + half]), float(score[best])
