"""What every optical flow method offers."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8


@runtime_checkable
class Flow(Protocol):
    """Computes optical flow between pairs of pictures, any number of them."""

    def __call__(
        self,
        earlier: UInt8[np.ndarray, "pairs size size 3"],
        later: UInt8[np.ndarray, "pairs size size 3"],
    ) -> Float32[np.ndarray, "pairs size size 2"]:
        """Displacement of every pixel of `earlier` in `later`, pixels; channel 0 is x, 1 is y."""
