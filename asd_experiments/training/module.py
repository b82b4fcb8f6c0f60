"""The Lightning module: loss, optimiser, and the figures of an epoch."""

import math
from functools import partial

import pandas as pd
import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from asd_experiments.data.clips import ClipSample
from asd_experiments.evaluation.metrics import SELECTION_METRIC, balanced_log_loss
from asd_experiments.evaluation.predictions import aggregate, probability_columns
from asd_experiments.models.two_stream import TwoStream
from asd_experiments.training.parameter_groups import parameter_groups


class TwoStreamModule(LightningModule):
    """Trains a two-stream network with weighted cross-entropy.

    Args:
        network: The network; its fusion says which scores are trained.
        val_clips: Clip table of the inner validation patients, in the order of the loader.
        classes: Labels in the order of the network's outputs.
        clip_weights: Weight of each training clip in the loss, see `sampling.clip_weights`.
        learning_rate: Peak of the schedule (linear warm-up, then cosine).
        backbone_lr_factor: Share of it that the backbones get.
        weight_decay: Of AdamW.
        warm_up: Share of the steps in which the rate rises.
        label_smoothing: Share of every label that is spread over all classes.
    """

    clip_weights: Tensor

    def __init__(
        self,
        network: TwoStream,
        val_clips: pd.DataFrame,
        *,
        classes: list[str],
        clip_weights: Float[Tensor, " clip"],
        learning_rate: float,
        backbone_lr_factor: float = 1.0,
        weight_decay: float,
        warm_up: float = 0.1,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("clip_weights", clip_weights, persistent=False)
        self._val_clips = val_clips
        self._classes = classes
        self._learning_rate = learning_rate
        self._backbone_lr_factor = backbone_lr_factor
        self._weight_decay = weight_decay
        self._warm_up = warm_up
        self._label_smoothing = label_smoothing
        self._train_losses: list[Tensor] = []
        self._train_probabilities: list[Tensor] = []
        self._train_labels: list[Tensor] = []
        self._val_probabilities: list[Tensor] = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; the rate rises for a share of the steps, then falls as a cosine.

        References:
            Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
        """
        groups = parameter_groups(
            self.network,
            learning_rate=self._learning_rate,
            backbone_lr_factor=self._backbone_lr_factor,
        )
        optimizer = torch.optim.AdamW(groups, weight_decay=self._weight_decay)
        total_steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, partial(rate_factor, total_steps=total_steps, warm_up=self._warm_up)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def training_step(self, batch: ClipSample, _: int) -> Tensor:
        """Loss of one batch; its answers are kept for the epoch's figures."""
        scores = self.network(batch["appearance"], batch["motion"])
        losses = torch.stack(
            [
                functional.cross_entropy(
                    trained,
                    batch["label"],
                    reduction="none",
                    label_smoothing=self._label_smoothing,
                )
                for trained in self.network.fusion.trained(scores)
            ]
        ).sum(dim=0)
        weighted = losses * self.clip_weights[batch["row"]]
        self._train_losses.append(weighted.detach())
        self._train_probabilities.append(scores.fused.detach().float().softmax(dim=1))
        self._train_labels.append(batch["label"])
        return weighted.mean()

    def on_train_epoch_end(self) -> None:
        """Start the next epoch's figures afresh; Lightning validates before it calls this."""
        for kept in (self._train_losses, self._train_probabilities, self._train_labels):
            kept.clear()

    def validation_step(self, batch: ClipSample, _: int) -> None:
        """Keep the probabilities; figures are made from all of them together."""
        scores = self.network(batch["appearance"], batch["motion"])
        self._val_probabilities.append(scores.fused.float().softmax(dim=1).cpu())

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's losses, each computed over all clips or patients at once.

        `loss` is the same figure everywhere, the class-balanced log loss of the answer, but the
        training clips gave theirs with dropout, augmentation and weights that changed meanwhile.
        `train/clip/objective` is what the steps made smaller: weighted, of smoothed labels, and a
        sum where a fusion trains several scores.
        """
        probabilities = torch.cat(self._val_probabilities).numpy()
        self._val_probabilities.clear()
        clips = self._val_clips.copy()
        clips[probability_columns(self._classes)] = probabilities
        patients = aggregate(clips, "patient")
        self.log_dict(
            {
                **self.training_figures(),
                "val/clip/loss": balanced_log_loss(clips, self._classes),
                SELECTION_METRIC: balanced_log_loss(patients, self._classes),
            }
        )

    def training_figures(self) -> dict[str, float]:
        """Losses of the epoch's training clips, as `on_validation_epoch_end` logs them."""
        trained = pd.DataFrame(
            torch.cat(self._train_probabilities).cpu().numpy(),
            columns=probability_columns(self._classes),
        ).assign(label=[self._classes[k] for k in torch.cat(self._train_labels).tolist()])
        return {
            "train/clip/objective": float(torch.cat(self._train_losses).mean()),
            "train/clip/loss": balanced_log_loss(trained, self._classes),
        }


def rate_factor(step: int, *, total_steps: int, warm_up: float) -> float:
    """Share of the peak learning rate: a linear warm-up, then a cosine to zero.

    Args:
        step: Steps taken.
        total_steps: Steps of the training.
        warm_up: Share of the steps in which the rate rises; at least one step is at the peak.

    References:
        Loshchilov and Hutter 2017, section 3, https://arxiv.org/abs/1608.03983.
    """
    rising = max(1, round(warm_up * total_steps))
    if step < rising:
        return (step + 1) / rising
    progress = (step - rising) / max(1, total_steps - rising)
    return (1 + math.cos(math.pi * min(progress, 1))) / 2
