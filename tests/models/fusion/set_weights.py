"""Weights by hand."""

import torch
from torch import nn


def set_weights(layer: nn.Module, weight: list, bias: list | None = None) -> None:
    """Give a layer these weights; a bias that is not given is zero."""
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight).reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.copy_(torch.tensor(bias) if bias else torch.zeros_like(layer.bias))
