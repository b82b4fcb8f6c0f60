"""Training of one fold: inner validation chooses the epoch, test is read once."""

import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from asd_experiments.config import Device, TrialConfig
from asd_experiments.data.clips import ClipDataset, ClipSample
from asd_experiments.data.store import ClipStore
from asd_experiments.evaluation.metrics import SELECTION_METRIC
from asd_experiments.evaluation.predictions import PLAIN_COLUMNS
from asd_experiments.interruption import Interrupted
from asd_experiments.models.memory_layout import move
from asd_experiments.models.pretrained import FittedWeights
from asd_experiments.models.two_stream import TwoStream
from asd_experiments.training.callbacks import (
    BestEpoch,
    Divergence,
    EpochReport,
    EpochSeeds,
    LastEpoch,
    MovingAverage,
    Reporter,
    Stops,
)
from asd_experiments.training.module import TwoStreamModule
from asd_experiments.training.prediction import predict_clips
from asd_experiments.training.sampling import loss_weights, ordered_loader, training_loader
from asd_experiments.training.start import normalisation_of, start_network

# It greets every fold with the hardware, a tip and the reason for stopping.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)

LAST_EPOCH = "last_epoch.ckpt"
BEST_EPOCH = "best_epoch.pt"

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class FoldResult:
    """What the training of one fold leaves behind."""

    fold: int
    """Number of the fold, counted from 0."""

    network: TwoStream
    """Network with the weights of the best epoch, on the CPU."""

    best_epoch: int
    """Epoch chosen by inner validation, counted from 1."""

    history: list[dict[str, float]]
    """Figures of every epoch."""

    predictions: pd.DataFrame
    """Prediction table of the inner validation and the test patients."""

    seconds: float
    """Wall-clock time of training and prediction, since it was last resumed."""

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return len(self.history)


def fit_fold(
    config: TrialConfig,
    store: ClipStore,
    clips: pd.DataFrame,
    *,
    fold: int,
    classes: list[str],
    report: EpochReport,
    pretrained: Mapping[str, FittedWeights],
    folder: Path,
) -> FoldResult:
    """Train one fold and predict its validation and test clips with the best epoch's weights.

    Args:
        config: Configuration of the trial.
        store: Clip store.
        clips: Clip table of all patients with this fold's `split` and `group`.
        fold: Number of the fold.
        classes: Labels in the order of the network's outputs.
        report: Called after every epoch, and before all others for those that `folder` knows of.
        pretrained: Weights that the backbones start from, by their keys; none: fresh ones.
        folder: Where the best epoch is kept, and the last one, from which training goes on.

    Returns:
        The best epoch's network, its predictions, and how the training went.

    Raises:
        BaseException: Whatever `report` raises ends the training; the folder has what it needs to
            go on after its last whole epoch.
    """
    started = time.monotonic()
    seed = seed_training(config, fold)
    parts = {
        str(split): rows.reset_index(drop=True)
        for split, rows in clips.assign(fold=fold).groupby("split")
    }
    data = {split: clip_dataset(config, store, rows, classes) for split, rows in parts.items()}
    network = start_network(config, num_classes=len(classes), pretrained=pretrained)
    module = build_module(
        config,
        network,
        val_clips=parts["val"][list(PLAIN_COLUMNS)],
        classes=classes,
        clip_weights=loss_weights(config, parts["train"], classes),
    )
    best_epoch, history = _train(
        config,
        module,
        (
            training_loader(
                config, data["train"], parts["train"], classes, seed=seed, epoch=epochs_done(folder)
            ),
            ordered_loader(config, data["val"]),
        ),
        seed=seed,
        folder=folder,
        report=report,
    )
    tables = [
        parts[split][list(PLAIN_COLUMNS)].join(_predict(config, network, data[split], classes))
        for split in ("val", "test")
    ]
    move(network, "cpu")
    return FoldResult(
        fold=fold,
        network=network,
        best_epoch=best_epoch,
        history=history,
        predictions=pd.concat(tables, ignore_index=True),
        seconds=time.monotonic() - started,
    )


def seed_training(config: TrialConfig, number: int) -> int:
    """Seed everything for one training of a trial; each of them has its own number."""
    seed = int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0])
    seed_everything(seed, workers=True, verbose=False)
    return seed


def epochs_done(folder: Path) -> int:
    """Epochs after which a fold can be continued from its folder; 0: from the start."""
    last = folder / LAST_EPOCH
    return int(torch.load(last, weights_only=True, mmap=True)["epoch"]) + 1 if last.exists() else 0


def clip_dataset(
    config: TrialConfig, store: ClipStore, clips: pd.DataFrame, classes: list[str]
) -> ClipDataset:
    """Clips as the networks of a trial see them."""
    return ClipDataset(
        store,
        clips,
        classes=classes,
        clip_length=config.clip_length,
        size=config.size,
        segmentation=config.segmentation,
        normalisation=normalisation_of(config),
    )


def _train(
    config: TrialConfig,
    module: TwoStreamModule,
    loaders: tuple[DataLoader[ClipSample], DataLoader[ClipSample]],
    *,
    seed: int,
    folder: Path,
    report: EpochReport,
) -> tuple[int, list[dict[str, float]]]:
    """Train, put the best epoch's weights into the module, and say which epoch that was.

    Goes on from the last epoch that the folder knows of.
    """
    last, kept = folder / LAST_EPOCH, folder / BEST_EPOCH
    if not last.exists():
        kept.unlink(missing_ok=True)  # of an epoch that is trained again
    best, reporter = BestEpoch(kept, SELECTION_METRIC), Reporter(report)
    callbacks = [
        *(Stops(), Divergence()),
        *(best, EpochSeeds(seed), EarlyStopping(SELECTION_METRIC, patience=config.patience)),
        *moving_average(config),
        *(reporter, LastEpoch(last)),
    ]
    run_trainer(config, module, loaders, callbacks, checkpoint=last if last.exists() else None)
    chosen = best.load()
    module.load_state_dict(chosen["state_dict"])
    return chosen["epoch"], reporter.history


def build_module(
    config: TrialConfig,
    network: TwoStream,
    *,
    val_clips: pd.DataFrame,
    classes: list[str],
    clip_weights: Float[Tensor, " clip"],
) -> TwoStreamModule:
    """Build the module that trains a network as the configuration says; see `TwoStreamModule`."""
    return TwoStreamModule(
        network,
        val_clips,
        classes=classes,
        clip_weights=clip_weights,
        learning_rate=config.learning_rate,
        backbone_lr_factor=config.backbone_lr_factor,
        weight_decay=config.weight_decay,
        warm_up=config.warm_up,
        label_smoothing=config.label_smoothing,
    )


def moving_average(config: TrialConfig) -> list[Callback]:
    """The callback that averages the weights, if the configuration asks for it."""
    return [MovingAverage(config.ema)] if config.ema else []


def run_trainer(
    config: TrialConfig,
    module: TwoStreamModule,
    loaders: tuple[DataLoader[ClipSample], DataLoader[ClipSample] | None],
    callbacks: list[Callback],
    *,
    checkpoint: Path | None = None,
) -> None:
    """Train as the configuration says: where, in which arithmetic, with which steps.

    Args:
        config: Configuration of the trial.
        module: What is trained.
        loaders: Of the training clips, and of those that validate every epoch, if any do.
        callbacks: What happens beside.
        checkpoint: File to go on from.

    Raises:
        Interrupted: If somebody asked this process to stop.
    """
    move(module.network, training_device(config.device))
    with warnings.catch_warnings():
        # Lightning's own use of PyTorch, and advice on settings that are chosen here.
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.`", FutureWarning)
        warnings.filterwarnings("ignore", ".*does not have many workers")
        warnings.filterwarnings("ignore", ".*smaller than the logging interval")
        warnings.filterwarnings("ignore", r".*module\(s\) in eval mode")  # frozen ones
        warnings.filterwarnings("ignore", ".*have no `val_dataloader`")  # a trial step
        warnings.filterwarnings("ignore", "GPU available but not used")  # device=cpu, or a Mac
        trainer = Trainer(
            accelerator=training_device(config.device),
            devices=1,
            precision=precision(config),
            max_epochs=config.epochs,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=config.gradient_clip,
            callbacks=callbacks,
            deterministic="warn",
            logger=False,
            # Where none of the callbacks writes files, Lightning would add one that does.
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            plugins=[LightningEnvironment()],  # Slurm's would requeue the job, or refuse its tasks
        )
        ckpt_path = str(checkpoint) if checkpoint else None
        try:
            trainer.fit(module, *loaders, ckpt_path=ckpt_path, weights_only=True)
        except SIGTERMException as error:  # which would end the process as if all were well
            raise Interrupted("stopped by SIGTERM") from error


def training_device(device: Device) -> Literal["cpu", "cuda"]:
    """Where `TrainConfig.device` leads on this machine."""
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def device_problem(device: Device) -> str | None:
    """Why this machine has no such device; None if it has."""
    if device == "gpu" and not torch.cuda.is_available():
        return "device=gpu, but PyTorch finds no GPU; choose auto or cpu"
    return None


def precision(config: TrialConfig) -> Precision:
    """Arithmetic for this machine: bf16-mixed where `auto` meets a GPU that has it."""
    if config.precision != "auto":
        return config.precision
    on_gpu = training_device(config.device) == "cuda"
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


def _predict(
    config: TrialConfig, network: TwoStream, dataset: ClipDataset, classes: list[str]
) -> pd.DataFrame:
    return predict_clips(
        network,
        dataset,
        classes,
        batch_size=config.batch_size,
        device=training_device(config.device),
        loader_workers=config.loader_workers,
    )
