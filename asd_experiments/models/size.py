"""How large a model is: parameters, and multiplications for one clip."""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

FLOPS_PER_MAC = 2
"""A multiply-accumulate is one multiplication and one addition."""


class ModelSize(NamedTuple):
    """Size of a model."""

    parameters: int
    """Numbers that are learned, frozen ones counted too."""

    gmacs: float
    """Multiply-accumulates of convolutions, linear layers and attention, in thousand millions."""


def model_size(model: nn.Module, *clips: tuple[int, int, int, int]) -> ModelSize:
    """Count a model's parameters and its multiply-accumulates for one clip, in evaluation.

    A copy of the model is sent a clip without content; nothing is computed, and the model itself
    is left as it was, weights or none. Norms, activations and pools are not counted, nor are they
    in the figures that the networks' authors give.

    Args:
        model: Any network.
        clips: Shape of each of its inputs: channels, frames, height and width.
    """
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        empty = deepcopy(model).to("meta").eval()
        empty(*(torch.empty(1, *clip) for clip in clips))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelSize(parameters, counter.get_total_flops() / FLOPS_PER_MAC / 1e9)
