"""What every optical flow method offers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from asd_experiments.errors import InputError


class FlowWeightsError(InputError):
    """The weights of a flow network cannot be had; the message names the remedy."""


@runtime_checkable
class Flow(Protocol):
    """Computes optical flow between pairs of pictures."""

    pairs_per_batch: int

    def __call__(
        self,
        earlier: UInt8[np.ndarray, "pairs size size 3"],
        later: UInt8[np.ndarray, "pairs size size 3"],
    ) -> Float32[np.ndarray, "pairs size size 2"]:
        """Displacement of every pixel of `earlier` in `later`, pixels; channel 0 is x, 1 is y."""


@dataclass(frozen=True)
class FlowMethod:
    """One optical flow method: how it is made, and what it stands on."""

    build: Callable[[bytes | None], Flow]
    """Make it from its weights, as safetensors; a method without weights takes None."""

    load_weights: Callable[[Path | None], bytes | None]
    """Weights as safetensors, from a file or, given None, from where the method's own are kept."""

    libraries: tuple[str, ...]
    """Distributions whose version changes the flow."""
