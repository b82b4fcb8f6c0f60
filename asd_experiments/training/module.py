"""The Lightning module: loss, optimiser, and the figures of an epoch."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from asd_experiments.data.clips import ClipSample
from asd_experiments.evaluation.predictions import aggregate, probability_columns
from asd_experiments.models.two_stream import TwoStream

SELECTION_METRIC = "val/patient/loss"
"""What chooses the epoch: class-balanced log loss of the inner validation patients."""

WARM_UP_SHARE = 0.1


class TwoStreamModule(LightningModule):
    """Trains a two-stream network with class-weighted cross-entropy.

    Args:
        network: The network; its fused scores are trained.
        val_clips: Clip table of the inner validation patients, in the order of the loader.
        classes: Labels in the order of the network's outputs.
        class_weights: Weight of each class in the loss.
        learning_rate: Peak of the schedule (linear warm-up, then cosine).
        weight_decay: Of AdamW.
    """

    class_weights: Tensor

    def __init__(
        self,
        network: TwoStream,
        val_clips: pd.DataFrame,
        *,
        classes: list[str],
        class_weights: Float[Tensor, " class"],
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._val_clips = val_clips
        self._classes = classes
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._train_losses: list[Tensor] = []
        self._val_probabilities: list[Tensor] = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; the rate rises for a tenth of the steps, then falls as a cosine.

        References:
            Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
        """
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self._learning_rate, weight_decay=self._weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=self._learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=WARM_UP_SHARE,
            cycle_momentum=False,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def training_step(self, batch: ClipSample, _: int) -> Tensor:
        """Loss of one batch."""
        scores = self.network(batch["appearance"], batch["motion"])
        losses = functional.cross_entropy(scores.fused, batch["label"], reduction="none")
        self._train_losses.append(losses.detach())
        weights = self.class_weights[batch["label"]]
        return (losses * weights).sum() / weights.sum()

    def on_train_epoch_end(self) -> None:
        """Start the next epoch's mean afresh; Lightning validates before it calls this."""
        self._train_losses.clear()

    def validation_step(self, batch: ClipSample, _: int) -> None:
        """Keep the probabilities; figures are made from all of them together."""
        scores = self.network(batch["appearance"], batch["motion"])
        self._val_probabilities.append(scores.fused.float().softmax(dim=1).cpu())

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's losses, each computed over all clips or patients at once."""
        probabilities = torch.cat(self._val_probabilities).numpy()
        self._val_probabilities.clear()
        clips = self._val_clips.copy()
        clips[probability_columns(self._classes)] = probabilities
        patients = aggregate(clips, "patient")
        self.log_dict(
            {
                "train/clip/loss": torch.cat(self._train_losses).mean(),
                "val/clip/loss": balanced_log_loss(clips, self._classes),
                SELECTION_METRIC: balanced_log_loss(patients, self._classes),
            }
        )


def balanced_log_loss(predictions: pd.DataFrame, classes: list[str]) -> float:
    """Mean over the classes of the mean negative log probability of the true class."""
    per_class = []
    for label, column in zip(classes, probability_columns(classes), strict=True):
        true = predictions.loc[predictions["label"] == label, column].to_numpy(dtype=float)
        if len(true):
            per_class.append(-np.log(np.clip(true, 1e-7, 1)).mean())
    return float(np.mean(per_class))


def class_weights(labels: Iterable[str], classes: list[str]) -> Float[Tensor, " class"]:
    """Weights that make every class count the same; their mean over the classes is 1.

    Args:
        labels: Label of each training patient.
        classes: Labels in the order of the network's outputs; each must occur.
    """
    counts = pd.Series(list(labels)).value_counts().reindex(classes).to_numpy(dtype=float)
    weights = 1 / counts
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)
