"""Which clips a step sees, and how much each of them counts."""

from functools import partial

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from asd_experiments.config import TrialConfig
from asd_experiments.data.clips import ClipDataset, ClipSample, Drawn, InOrder, Shuffled
from asd_experiments.interruption import leave_stopping_to_the_parent


def clip_weights(clips: pd.DataFrame, classes: list[str]) -> Float[Tensor, " clip"]:
    """Weights that make every class count the same, and every patient within a class.

    A patient with more video would otherwise weigh more. The weights' mean is 1.

    Args:
        clips: Clip table of the training patients.
        classes: Labels in the order of the network's outputs; each must occur.
    """
    clips_of_patient = clips.groupby("patient_id")["patient_id"].transform("size")
    patients_of_class = clips.groupby("label")["patient_id"].nunique().reindex(classes)
    weights = 1 / (clips_of_patient * clips["label"].map(patients_of_class))
    return torch.tensor((weights / weights.mean()).to_numpy(), dtype=torch.float32)


def loss_weights(
    config: TrialConfig, clips: pd.DataFrame, classes: list[str]
) -> Float[Tensor, " clip"]:
    """Weight of every training clip in the loss: of `balance=weights`, else 1."""
    return clip_weights(clips, classes) if config.balance == "weights" else torch.ones(len(clips))


def training_loader(
    config: TrialConfig,
    dataset: ClipDataset,
    clips: pd.DataFrame,
    classes: list[str],
    *,
    seed: int,
    epoch: int = 0,
) -> DataLoader[ClipSample]:
    """Batches of training clips, in an order and with changes drawn at random.

    Args:
        config: Configuration of the trial.
        dataset: The clips.
        clips: Their table.
        classes: Labels in the order of the network's outputs.
        seed: Of all that is drawn.
        epoch: The first one, counted from 0.
    """
    make = (
        partial(Drawn, clip_weights(clips, classes))
        if config.balance == "sampler"
        else partial(Shuffled, len(dataset))
    )
    return DataLoader(
        dataset,
        batch_size=config.batch_size,
        sampler=make(augment=config.augment, seed=seed, epoch=epoch),
        drop_last=len(dataset) % config.batch_size == 1 and len(dataset) > 1,  # batch norm needs 2
        num_workers=config.loader_workers,
        persistent_workers=config.loader_workers > 0,
        worker_init_fn=leave_stopping_to_the_parent,
    )


def ordered_loader(config: TrialConfig, dataset: ClipDataset) -> DataLoader[ClipSample]:
    """Batches of all clips in their order, unchanged."""
    return DataLoader(
        dataset,
        batch_size=config.batch_size,
        sampler=InOrder(len(dataset)),
        num_workers=config.loader_workers,
        persistent_workers=config.loader_workers > 0,
        worker_init_fn=leave_stopping_to_the_parent,
    )
