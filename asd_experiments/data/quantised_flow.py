"""Optical flow as a clip store keeps it: whole steps in 16 bits, half of what floats take."""

import numpy as np
from jaxtyping import Float32, Int16

FLOW_STEP_PX = 1 / 64
"""One step, pixels of the stored grid; another one would be another schema of the store."""

_INT16 = np.iinfo(np.int16)


def quantise_flow(flow: Float32[np.ndarray, "*shape"]) -> Int16[np.ndarray, "*shape"]:
    """Round flow to whole steps.

    Args:
        flow: Displacements, pixels. From -512 to just below 512 the error is at most half a step;
            what lies beyond is cut off there.
    """
    steps = np.rint(flow / FLOW_STEP_PX)
    return np.clip(steps, _INT16.min, _INT16.max).astype(np.int16)


def restore_flow(steps: Int16[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Flow in pixels from whole steps, without a further error."""
    flow: np.ndarray = np.multiply(steps, np.float32(FLOW_STEP_PX), dtype=np.float32)
    return flow
