"""The largest batch that fits."""

from collections.abc import Callable

import torch
from pytorch_lightning.utilities.memory import is_oom_error
from torch.nn import functional

from asd_experiments.config import TrialConfig
from asd_experiments.models.two_stream import STREAM_CHANNELS
from asd_experiments.training.fit import precision, training_device
from asd_experiments.training.start import start_network

LEAST_STEPS = 8
"""Fewest steps of an epoch: an optimiser that moves less often learns nothing in 50 epochs."""


def find_batch_size(config: TrialConfig, *, num_clips: int, num_classes: int) -> int:
    """Find the largest power of two whose training step fits the memory.

    The steps are taken with clips of noise, so nothing is read. Lightning's own search reads the
    data set, writes the network to a file and, where the batch reaches the data set's size, ends
    at a number that is no power of two.

    Args:
        config: Configuration of the trial.
        num_clips: Training clips of the smallest fold; an epoch keeps at least 8 steps of them.
        num_classes: Classes to tell apart.
    """

    def fits(batch_size: int) -> bool:
        try:
            _train_twice(config, batch_size, num_classes)
        except RuntimeError as error:
            if not is_oom_error(error):
                raise
            return False
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return True

    return largest_power_of_two(fits, most=num_clips // LEAST_STEPS)


def largest_power_of_two(fits: Callable[[int], bool], *, most: int) -> int:
    """Find the largest power of two from 2 up that fits.

    Args:
        fits: Whether a number fits; if one does, all smaller ones do.
        most: Try none above this. 2 is tried all the same: batch norm needs it.

    Raises:
        ValueError: If not even 2 fits.
    """
    if not fits(2):
        raise ValueError(
            "a batch of 2 clips does not fit the memory; choose gradient_checkpointing=true, a "
            "smaller size, clip_length or width, or another backbone"
        )
    largest = 2
    while 2 * largest <= most and fits(2 * largest):
        largest *= 2
    return largest


def _train_twice(config: TrialConfig, batch_size: int, num_classes: int) -> None:
    """Take two steps: the optimiser's memory is there from the second one on."""
    device = training_device(config)
    with torch.random.fork_rng():
        network = start_network(config, num_classes=num_classes, pretrained={})
        network.to(device).train()
        optimizer = torch.optim.AdamW(network.parameters())
        shape = (config.clip_length, config.size, config.size)
        appearance, motion = (
            torch.randn(batch_size, channels, *shape, device=device)
            for channels in STREAM_CHANNELS.values()
        )
        labels = torch.zeros(batch_size, dtype=torch.long, device=device)
        half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision(config))
        for _ in range(2):
            optimizer.zero_grad()
            with torch.autocast(device, dtype=half, enabled=half is not None):
                scores = network(appearance, motion)
            torch.autograd.backward(functional.cross_entropy(scores.fused.float(), labels))
            optimizer.step()
