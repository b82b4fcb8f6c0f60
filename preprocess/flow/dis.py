"""Dense inverse search: optical flow without a network, a few milliseconds per pair on a CPU."""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from preprocess.flow.flow import Flow
from preprocess.method import Method, without_weights


class DenseInverseSearch:
    """OpenCV's DIS flow on grey pictures.

    References:
        Kroeger et al. 2016, https://arxiv.org/abs/1603.03590.
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        # On the walkers of benchmarks/methods.py 1.17 px off where the preset alone is 1.23 px off,
        # in less than half of its time.
        self._dis.setGradientDescentIterations(6)
        self._dis.setPatchStride(5)
        self._dis.setVariationalRefinementIterations(3)

    def __call__(
        self,
        earlier: UInt8[np.ndarray, "pairs size size 3"],
        later: UInt8[np.ndarray, "pairs size size 3"],
    ) -> Float32[np.ndarray, "pairs size size 2"]:
        """Displacement of every pixel of `earlier` in `later`, pixels; channel 0 is x, 1 is y."""
        pairs = zip(earlier, later, strict=True)
        return np.stack([self._between(_grey(one), _grey(other)) for one, other in pairs])

    def _between(
        self, one: UInt8[np.ndarray, "size size"], other: UInt8[np.ndarray, "size size"]
    ) -> Float32[np.ndarray, "size size 2"]:
        # OpenCV's stub demands a flow to start from; its own documentation takes None.
        return np.asarray(self._dis.calc(one, other, None))  # type: ignore[call-overload]


def _grey(picture: UInt8[np.ndarray, "size size 3"]) -> UInt8[np.ndarray, "size size"]:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


DIS: Method[Flow] = without_weights(
    "flow=dis", DenseInverseSearch, libraries=("opencv-python-headless",)
)
