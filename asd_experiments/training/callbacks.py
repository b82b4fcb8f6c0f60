"""What happens between the epochs of a fold."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, EMAWeightAveraging

from asd_experiments.errors import InputError
from asd_experiments.interruption import raise_if_stopped
from asd_experiments.training.files import write_atomically
from asd_experiments.training.module import TwoStreamModule


class DivergedError(InputError):
    """The loss of a training is no number any more."""


EpochReport = Callable[[int, dict[str, float]], None]
"""Called after every epoch with its number, counted from 1, and its figures."""


class Reporter(Callback):
    """Hands the epoch's figures on; after a resumption first those of the epochs before it."""

    def __init__(self, report: EpochReport) -> None:
        self._report = report
        self.history: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, _: LightningModule) -> None:
        """Report the losses of training and validation."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._hand_on(trainer.current_epoch + 1, figures)

    def _hand_on(self, epoch: int, figures: dict[str, float]) -> None:
        self.history.append(figures)
        self._report(epoch, figures)

    def state_dict(self) -> dict[str, Any]:
        """Figures of all epochs so far."""
        return {"history": list(self.history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Report the epochs that are not trained again."""
        self.history = list(state_dict["history"])
        for number, figures in enumerate(self.history, start=1):
            self._report(number, figures)


class UnvalidatedReporter(Reporter):
    """The same of a training that is not validated: what the training clips say is all there is."""

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Report the losses of training, unless they are no numbers any more."""
        figures = cast(TwoStreamModule, module).training_figures()
        _refuse_divergence(figures, trainer.current_epoch + 1)
        self._hand_on(trainer.current_epoch + 1, figures)


class LastEpochIs(Callback):
    """Ends the training after an epoch, where its schedule would go on.

    Args:
        epoch: The last one, counted from 1.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def on_train_epoch_end(self, trainer: Trainer, _: LightningModule) -> None:
        """Stop if this was the last epoch."""
        trainer.should_stop = trainer.current_epoch + 1 >= self._epoch


class Stops(Callback):
    """Ends the training at the next batch if a request to stop was lost."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Look for a request."""
        raise_if_stopped()


class Divergence(Callback):
    """Ends a training whose loss is no number: nothing good comes after that."""

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Look at the losses of the epoch, before it is kept."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        _refuse_divergence(figures, trainer.current_epoch + 1)


class EpochSeeds(Callback):
    """Seeds every epoch by its number, so that it draws the same whether or not others ran before.

    Dropout is what draws here; the order of clips and their augmentation have their own seeds.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        """Seed before the first batch, when the loader's processes have been started."""
        *_, batch_number = args
        if batch_number == 0:
            sequence = np.random.SeedSequence([self._seed, trainer.current_epoch, 1])
            torch.manual_seed(int(sequence.generate_state(1)[0]))


class BestEpoch(Callback):
    """Keeps the weights of the epoch with the lowest figure, as they were validated.

    What is in the file decides, also after a resumption.

    Args:
        file: Where the weights are kept.
        monitor: Name of the figure.
    """

    def __init__(self, file: Path, monitor: str) -> None:
        self._file = file
        self._monitor = monitor
        self._lowest = float(self.load()["figure"]) if file.exists() else float("inf")

    def load(self) -> dict[str, Any]:
        """`epoch`, counted from 1, `figure` and `state_dict` of the best epoch."""
        kept: dict[str, Any] = torch.load(self._file, map_location="cpu", weights_only=True)
        return kept

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Keep this epoch if it is better than all before."""
        figure = float(trainer.callback_metrics[self._monitor])
        if figure < self._lowest or not self._file.exists():
            self._lowest = figure
            kept = {
                "epoch": trainer.current_epoch + 1,
                "figure": figure,
                "state_dict": module.state_dict(),
            }
            write_atomically(self._file, lambda path: torch.save(kept, path))


class MovingAverage(EMAWeightAveraging):
    """Puts the averaged weights in place for the whole of a validation, and `BestEpoch` in it.

    Lightning's callback takes them away again before the validation's figures are computed.
    Averaged are weights and buffers, so batch norm has statistics that fit. It starts at the
    weights after the first step.

    Args:
        decay: Share of the average that a step leaves as it was.

    References:
        Polyak and Juditsky 1992, https://doi.org/10.1137/0330046; with a decay: Szegedy et al.
        2016, section 8, https://arxiv.org/abs/1512.00567.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the averaged weights where they are."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the trained weights back."""
        super().on_validation_epoch_end(trainer, pl_module)


class LastEpoch(Checkpoint):
    """Writes, after every epoch, all that is needed to go on from there.

    Not after the one at which training stops early: only that epoch knows that it was the last.
    As a `Checkpoint` it comes after all other callbacks, `EarlyStopping` included.

    Args:
        file: Where to write it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def on_train_epoch_end(self, trainer: Trainer, _: LightningModule) -> None:
        """Write weights, optimiser, schedule, average and the state of every callback."""
        if not trainer.should_stop:
            write_atomically(self._file, trainer.save_checkpoint)


def _refuse_divergence(figures: Mapping[str, float], epoch: int) -> None:
    losses = {name: value for name, value in figures.items() if name.endswith("/loss")}
    if lost := [name for name, loss in losses.items() if not math.isfinite(loss)]:
        raise DivergedError(
            f"the training has diverged: {', '.join(lost)} of epoch {epoch} is no number; choose "
            "a smaller learning_rate, gradient_clip=1, a larger batch_size or precision=32-true"
        )
