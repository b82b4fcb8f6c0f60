"""One more network, trained on all patients, for as many epochs as the folds found best."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from asd_experiments.config import TrialConfig
from asd_experiments.data.store import ClipStore
from asd_experiments.models.memory_layout import move
from asd_experiments.models.pretrained import FittedWeights
from asd_experiments.models.two_stream import TwoStream
from asd_experiments.training.callbacks import (
    EpochReport,
    EpochSeeds,
    LastEpoch,
    LastEpochIs,
    Stops,
    UnvalidatedReporter,
)
from asd_experiments.training.fit import (
    LAST_EPOCH,
    build_module,
    clip_dataset,
    epochs_done,
    moving_average,
    run_trainer,
    seed_training,
)
from asd_experiments.training.sampling import loss_weights, training_loader
from asd_experiments.training.start import start_network


@dataclass(frozen=True)
class RefitResult:
    """What the training on all patients leaves behind."""

    network: TwoStream
    """Network after the last epoch, on the CPU."""

    history: list[dict[str, float]]
    """Losses of the training clips in every epoch."""

    seconds: float
    """Wall-clock time, since it was last resumed."""


def refit_epochs(best_epochs: Iterable[int]) -> int:
    """Epochs of the training on all patients: the median of the folds' best, rounded up."""
    return int(np.ceil(np.median(list(best_epochs))))


def refit(
    config: TrialConfig,
    store: ClipStore,
    clips: pd.DataFrame,
    *,
    epochs: int,
    number: int,
    classes: list[str],
    report: EpochReport,
    pretrained: Mapping[str, FittedWeights],
    folder: Path,
) -> RefitResult:
    """Train one network on the clips of all patients, as a fold is trained but unvalidated.

    Its learning rate follows the schedule of the folds, over `config.epochs`, and it stops where
    they were found best. Nothing is left to stop it early, or to test it.

    Args:
        config: Configuration of the trial.
        store: Clip store.
        clips: Clip table of all patients.
        epochs: What `refit_epochs` gave.
        number: Seeds it; no fold has it.
        classes: Labels in the order of the network's outputs.
        report: Called after every epoch, and before all others for those that `folder` knows of.
        pretrained: Weights that the backbones start from, by their keys; none: fresh ones.
        folder: Where the last epoch is kept, from which training goes on.

    Raises:
        BaseException: Whatever `report` raises ends the training; the folder has what it needs to
            go on after its last whole epoch.
    """
    started = time.monotonic()
    seed = seed_training(config, number)
    last = folder / LAST_EPOCH
    dataset = clip_dataset(config, store, clips, classes)
    module = build_module(
        config,
        start_network(config, num_classes=len(classes), pretrained=pretrained),
        val_clips=pd.DataFrame(),
        classes=classes,
        clip_weights=loss_weights(config, clips, classes),
    )
    loader = training_loader(config, dataset, clips, classes, seed=seed, epoch=epochs_done(folder))
    reporter = UnvalidatedReporter(report)
    callbacks = [
        *(Stops(), EpochSeeds(seed), LastEpochIs(epochs)),
        *moving_average(config),
        *(reporter, LastEpoch(last)),
    ]
    checkpoint = last if last.exists() else None
    run_trainer(config, module, (loader, None), callbacks, checkpoint=checkpoint)
    move(module.network, "cpu")
    return RefitResult(module.network.eval(), reporter.history, seconds=time.monotonic() - started)
