"""The largest batch that fits."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pandas as pd
import torch
from pytorch_lightning.utilities.memory import garbage_collection_cuda, is_oom_error
from torch.utils.data import DataLoader, Dataset

from asd_experiments.config import TrialConfig
from asd_experiments.data.clips import ClipSample
from asd_experiments.errors import InputError
from asd_experiments.models.memory_layout import move
from asd_experiments.models.two_stream import STREAM_CHANNELS
from asd_experiments.training.fit import build_module, moving_average, run_trainer, training_device
from asd_experiments.training.prediction import score_clips
from asd_experiments.training.start import start_network

LEAST_STEPS = 8
"""Fewest steps of an epoch: ours, so that 50 epochs are at least 400 steps."""


def find_batch_size(config: TrialConfig, *, num_clips: int, num_classes: int) -> int:
    """Find the largest power of two with which the memory suffices to train and to predict.

    That is tried as it is done later, but with clips of noise, so nothing is read. Lightning's own
    search reads the data set, writes the network to a file and, where the batch reaches the data
    set's size, ends at a number that is no power of two.

    Args:
        config: Configuration of the trial.
        num_clips: Training clips of the smallest fold; an epoch keeps at least 8 steps of them.
        num_classes: Classes to tell apart.

    Returns:
        Clips of a batch.

    Raises:
        InputError: If not even two clips fit.
    """

    def fits(batch_size: int) -> bool:
        try:
            _try_out(config, batch_size, num_classes)
        except RuntimeError as error:
            if not is_oom_error(error):
                raise
            return False
        finally:
            garbage_collection_cuda()
        return True

    return largest_power_of_two(fits, most=num_clips // LEAST_STEPS)


def largest_power_of_two(fits: Callable[[int], bool], *, most: int) -> int:
    """Find the largest power of two from 2 up that fits.

    Args:
        fits: Whether a number fits; if one does, all smaller ones do.
        most: Try none above this. 2 is tried all the same: batch norm needs it.

    Raises:
        InputError: If not even 2 fits.
    """
    if not fits(2):
        raise InputError(
            "find_batch_size: a batch of 2 clips does not fit the memory; choose "
            "gradient_checkpointing=true, a smaller size, clip_length or width, or another backbone"
        )
    largest = 2
    while 2 * largest <= most and fits(2 * largest):
        largest *= 2
    return largest


def _try_out(config: TrialConfig, batch_size: int, num_classes: int) -> None:
    """Take two steps, as the optimiser's memory is there from the second one on, and predict.

    Prediction keeps nothing for a gradient, but its maps have 32 bits a number (TF32, in which a
    GPU's convolutions compute, saves no memory): with frozen backbones or gradient checkpointing it
    takes more memory than the training.
    """
    shape = (config.clip_length, config.size, config.size)
    with torch.random.fork_rng():
        appearance, motion = (
            torch.randn(batch_size, channels, *shape) for channels in STREAM_CHANNELS.values()
        )
        nothing = torch.zeros(batch_size, dtype=torch.long)
        batch = ClipSample(appearance=appearance, motion=motion, label=nothing, row=nothing)
        network = start_network(config, num_classes=num_classes, pretrained={})
        module = build_module(
            config, network, val_clips=pd.DataFrame(), classes=[], clip_weights=torch.ones(1)
        )
        steps = DataLoader(cast(Dataset[ClipSample], [batch, batch]), batch_size=None)
        run_trainer(replace(config, epochs=1), module, (steps, None), moving_average(config))
        device = training_device(config.device)
        move(network.eval(), device)
        score_clips(network, batch, device)
