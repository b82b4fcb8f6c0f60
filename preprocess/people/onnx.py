"""YOLOX from an ONNX file, run by OpenCV: boxes without silhouettes, fast on a CPU."""

import re
from functools import partial

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from asd_experiments.user_file import read_file
from preprocess.method import Method, MethodError, WeightsSource, refuse_config
from preprocess.people.detected import LEAST_SCORE, Body, find_detected_person
from preprocess.people.finder import PersonFinder

_SOURCE = "https://github.com/Megvii-BaseDetection/YOLOX/tree/main/demo/ONNXRuntime"
_STRIDES = (8, 16, 32)
_GREY = 114
_COLUMNS = 85  # box, objectness, 80 classes of COCO
_PERSON = 5
_MOST_OVERLAP = 0.45
_LARGEST_LOG = 20.0  # of a side, in cells: larger ones are sides in pixels already
_INPUT = re.compile(r"inputs: \[\s*\"[^\"]*\" // <Input> \S+ \[1 x 3 x (\d+) x (\d+)\]\s*\]")


class Yolox:
    """YOLOX of any size, as a `Detector`.

    References:
        Ge et al. 2021, https://arxiv.org/abs/2107.08430.
    """

    batch_size = 1

    def __init__(self, weights: bytes) -> None:
        self._network, self.size = _read(weights)
        self._cells, self._strides = _grid(*self.size)

    def scale(self, height: int, width: int) -> float:
        """Factor by which pictures of a size are enlarged or shrunk for the network."""
        return min(self.size[0] / height, self.size[1] / width)

    def __call__(self, pictures: UInt8[np.ndarray, "picture height width 3"]) -> list[list[Body]]:
        """People in every picture, without silhouettes."""
        return [self._people(picture) for picture in pictures]

    def raw(
        self, letterbox: UInt8[np.ndarray, "height width 3"]
    ) -> Float32[np.ndarray, "cell column"]:
        """What the network says of every cell of a picture of its own size, RGB."""
        channels_first = letterbox[..., ::-1].transpose(2, 0, 1)[None]
        self._network.setInput(np.ascontiguousarray(channels_first, np.float32))
        return np.asarray(self._network.forward()[0])

    def _people(self, picture: UInt8[np.ndarray, "height width 3"]) -> list[Body]:
        height, width = picture.shape[:2]
        scale = self.scale(height, width)
        found = self.raw(self._letterbox(picture, scale))
        scores = found[:, 4] * found[:, _PERSON]
        likely = scores >= LEAST_SCORE
        centres = (found[likely, :2] + self._cells[likely]) * self._strides[likely]
        sides = np.exp(found[likely, 2:4]) * self._strides[likely]
        corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1) / scale
        boxes = corners.clip(0, [width, height] * 2).astype(np.float32)
        kept = _without_doubles(boxes, scores[likely])
        return [Body(boxes[i], float(scores[likely][i])) for i in kept]

    def _letterbox(
        self, picture: UInt8[np.ndarray, "height width 3"], scale: float
    ) -> UInt8[np.ndarray, "network_height network_width 3"]:
        """The picture at the top left of the network's, the rest grey."""
        height, width = (round(side * scale) for side in picture.shape[:2])
        letterbox = np.full((*self.size, 3), _GREY, np.uint8)
        letterbox[:height, :width] = cv2.resize(picture, (width, height))
        return letterbox


def load_weights(source: WeightsSource) -> bytes:
    """Read and check a YOLOX network.

    Args:
        source: Its file is an ONNX file as YOLOX exports it; there is none to download.

    Returns:
        The file's content.

    Raises:
        InputError: If the file cannot be read.
        MethodError: If no file is given, or it holds another network.
    """
    refuse_config(source, "people=onnx")
    if source.file is None:
        raise MethodError(
            f"people=onnx needs people_weights=FILE; take a YOLOX network from {_SOURCE}"
        )
    content = read_file(source.file, "people_weights")
    _check(content)
    return content


def _read(weights: bytes) -> tuple[cv2.dnn.Net, tuple[int, int]]:
    """The network, and height and width of its input."""
    try:
        network = cv2.dnn.readNetFromONNX(np.frombuffer(weights, np.uint8))
    except cv2.error:
        raise MethodError(
            f"people_weights is not an ONNX file; take a YOLOX network from {_SOURCE}"
        ) from None
    size = _INPUT.search(network.dump())
    if size is None:
        raise _foreign("its input is not one picture of a fixed size, 1 x 3 x height x width")
    return network, (int(size[1]), int(size[2]))


def _check(weights: bytes) -> None:
    """Refuse a network that is no YOLOX, or gives other numbers than YOLOX does."""
    yolox = Yolox(weights)
    try:
        found = yolox.raw(np.full((*yolox.size, 3), _GREY, np.uint8))
    except cv2.error:
        raise _foreign("OpenCV cannot run it") from None
    due = len(_grid(*yolox.size)[0]), _COLUMNS
    if found.shape != due:
        raise _foreign(f"its output is {found.shape}, not {due}")
    if found[:, 2:4].max() > _LARGEST_LOG:
        raise _foreign("its boxes are decoded already; export without --decode_in_inference")


def _foreign(reason: str) -> MethodError:
    return MethodError(f"people_weights is not a YOLOX network: {reason}; take one from {_SOURCE}")


def _grid(
    height: int, width: int
) -> tuple[Float32[np.ndarray, "cell 2"], Float32[np.ndarray, "cell 1"]]:
    """Column and row of every cell, and the side of a cell, network pixels."""
    cells = [
        np.stack(np.meshgrid(np.arange(width // s), np.arange(height // s)), axis=-1).reshape(-1, 2)
        for s in _STRIDES
    ]
    strides = np.repeat(_STRIDES, [len(c) for c in cells])
    return np.concatenate(cells).astype(np.float32), strides[:, None].astype(np.float32)


def _without_doubles(
    boxes: Float32[np.ndarray, "body 4"], scores: Float32[np.ndarray, " body"]
) -> list[int]:
    """Places of the boxes that do not cover a surer one."""
    corner_and_sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(corner_and_sides.tolist(), scores.tolist(), LEAST_SCORE, _MOST_OVERLAP)
    return [int(place) for place in kept]


def _build(weights: bytes | None) -> PersonFinder:
    if weights is None:
        raise MethodError("people=onnx needs its weights; see load_weights")
    return partial(find_detected_person, detector=Yolox(weights))


ONNX: Method[PersonFinder] = Method(_build, load_weights, libraries=("opencv-python-headless",))
