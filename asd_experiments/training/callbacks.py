"""What happens between the epochs of a fold."""

from collections.abc import Callable

from pytorch_lightning import Callback, LightningModule, Trainer

EpochReport = Callable[[int, dict[str, float]], None]
"""Called after every epoch with its number, counted from 1, and its figures."""


class Reporter(Callback):
    """Hands the epoch's figures on."""

    def __init__(self, report: EpochReport) -> None:
        self._report = report

    def on_train_epoch_end(self, trainer: Trainer, _: LightningModule) -> None:
        """Report the losses of training and validation."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._report(trainer.current_epoch + 1, figures)
