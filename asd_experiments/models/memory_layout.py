"""Where a network lies, and in which order the numbers of its weights lie there."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import nn

from asd_experiments.models.backbones.backbone import Backbone
from asd_experiments.models.two_stream import TwoStream


def move(network: TwoStream, device: torch.device | str) -> None:
    """Move a network to a device, laid out as that device computes it fastest.

    On a GPU, backbones that are faster so have the channels of their weights last in memory, which
    changes no result beyond rounding; everywhere else the weights are contiguous, as files need
    them to be.

    Args:
        network: Any two-stream network, in training or out of it.
        device: Where to.
    """
    network.to(device)
    on_gpu = torch.device(device).type == "cuda"
    for backbone in cast(Iterable[Backbone], network.backbones.values()):
        lay_out(backbone, channels_last=on_gpu and backbone.faster_channels_last)


def lay_out(module: nn.Module, *, channels_last: bool) -> None:
    """Put the channels of all convolutions last in memory, or back in their place.

    `Module.to` does this for layers of two dimensions or of three, not for both in one network.

    Args:
        module: Any network.
        channels_last: Whether last or in their place.
    """
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d} if channels_last else {}
    for weights in module.parameters():
        layout = layouts.get(weights.ndim, torch.contiguous_format)
        weights.data = weights.data.contiguous(memory_format=layout)
