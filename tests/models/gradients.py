"""Which parameters a gradient reaches."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

NETWORKS = 3


def unreached(
    build: Callable[[int], nn.Module], loss_of: Callable[[nn.Module], Tensor]
) -> set[str]:
    """Trainable parameters that no gradient reaches in any of three networks, built from a seed.

    In a network of eight channels a ReLU may be off for all clips, which says nothing of the
    connection; it is not off in three.
    """
    missing: set[str] | None = None
    for seed in range(NETWORKS):
        network = build(seed).train()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        # pytorchvideo starts its last batch norms at zero, which blocks the first step's gradient.
        for _ in range(2):
            optimiser.zero_grad()
            loss_of(network).backward()
            optimiser.step()
        trained = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
        without = {n for n, p in trained if p.grad is None or not p.grad.any()}
        missing = without if missing is None else missing & without
        if not missing:
            break
    return missing or set()
