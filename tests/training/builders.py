"""A small trial, and those who are told how it goes."""

from asd_experiments.config import TrialConfig
from asd_experiments.training.callbacks import EpochReport

SMALL = TrialConfig(
    store="unused",
    clip_length=8,
    size=32,
    width=0.125,
    folds=3,
    inner_folds=3,
    epochs=2,
    patience=2,
    learning_rate=3e-3,
    dropout=0.0,
    batch_size=4,
    device="cpu",
    loader_workers=0,
)


class CrashError(Exception):
    """What ends a training before its time."""


def ignore(epoch: int, figures: dict[str, float]) -> None:
    """Nobody wants to know."""


def crash_at(number: int) -> EpochReport:
    """The training ends in this epoch, before it is whole."""

    def crash(epoch: int, figures: dict[str, float]) -> None:
        if epoch == number:
            raise CrashError

    return crash
