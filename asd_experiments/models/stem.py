"""First convolutions for clips of other channels than the three that they were trained on."""

import torch
from jaxtyping import Float
from torch import Tensor

RGB = 3
FLOW = 2


def can_adapt(published: torch.Size, wanted: torch.Size) -> bool:
    """Whether an RGB convolution's weight can be made into one for optical flow, or for both."""
    return (
        published[1:2] == (RGB,)
        and wanted[1:2] in ((FLOW,), (RGB + FLOW,))
        and published[:1] + published[2:] == wanted[:1] + wanted[2:]
    )


def adapt_stem(
    weight: Float[Tensor, "out 3 *kernel"], channels: int, *, flow_scale: float = 1.0
) -> Float[Tensor, "out {channels} *kernel"]:
    """Weights of a first convolution for optical flow, from those for RGB.

    Flow alone: both channels get the mean over the colours (cross-modality pre-training), times
    3/2. The sum over the channels, which is the answer to an input that is alike in all of them,
    then stays what it was, and so do the statistics that the first batch norm expects.

    RGB and flow: the colours keep their weights bit for bit, and each flow channel gets the mean,
    so it counts as much as one colour does; with blank flow the answer is the published one.

    Args:
        weight: Output channels, three colours, then the kernel's sides.
        channels: 2 for flow, 5 for RGB followed by flow.
        flow_scale: Factor by which RGB was larger, when the weights were made, than flow is here.

    Returns:
        The same convolution for the other channels.

    References:
        Wang et al. 2016, section 3.2 (the mean, replicated), https://arxiv.org/abs/1608.00859.
        timm, `timm.models._manipulate.adapt_input_conv` (the factor 3 / channels).
    """
    mean = flow_scale * weight.mean(dim=1, keepdim=True)
    if channels == FLOW:
        return (mean * (RGB / FLOW)).repeat_interleave(FLOW, dim=1)
    return torch.cat([weight, mean.repeat_interleave(FLOW, dim=1)], dim=1)
