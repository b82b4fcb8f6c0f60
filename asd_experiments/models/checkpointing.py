"""Gradient checkpointing: less memory for more time, and nothing else changed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def recomputed(layers: Callable[[Any], Any], owner: nn.Module, state: Any) -> Any:
    """Run layers, keep their input alone, and run them again when their gradient is needed.

    Dropout draws the same in both runs, and running statistics are updated by the first alone.

    Args:
        layers: From one state to the next.
        owner: Module that holds the layers.
        state: Their input.

    References:
        Chen et al. 2016, https://arxiv.org/abs/1604.06174.
    """

    def run(state: Any) -> Any:
        # SlowFast's layers put their outputs into the list that they are given.
        return layers(list(state) if isinstance(state, list) else state)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _still_statistics(owner)

    return checkpoint(run, state, use_reentrant=False, context_fn=contexts)


@contextmanager
def _still_statistics(owner: nn.Module) -> Iterator[None]:
    """Let no batch norm count what it has counted already; its output stays that of the batch."""
    norms = [module for module in owner.modules() if isinstance(module, _NormBase)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, counted) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counted
