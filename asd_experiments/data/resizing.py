"""Frames and optical flow on another grid."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def resize(
    frames: Float[Tensor, "channel time height width"], size: int
) -> Float[Tensor, "channel time size size"]:
    """Resize every frame to a square, with the smoothing that shrinking needs."""
    if frames.shape[-2:] == (size, size):
        return frames
    by_time = frames.transpose(0, 1)
    resized = functional.interpolate(by_time, (size, size), mode="bilinear", antialias=True)
    return resized.transpose(0, 1)


def rescale_flow(
    flow: Float[Tensor, "2 pair height width"], size: int
) -> Float[Tensor, "2 pair size size"]:
    """Resize optical flow and keep it in pixels of the new grid.

    Halving the frame halves every displacement, so values are scaled with the grid.

    Args:
        flow: Displacement to the next frame, pixels; channel 0 is x, channel 1 is y.
        size: New side, pixels.

    Returns:
        Flow on the new grid, pixels.

    References:
        Simonyan and Zisserman 2014, section 3, https://arxiv.org/abs/1406.2199.
    """
    height, width = flow.shape[-2:]
    scale = flow.new_tensor([size / width, size / height]).reshape(2, 1, 1, 1)
    return resize(flow, size) * scale
