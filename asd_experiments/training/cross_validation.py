"""All folds of one trial."""

import torch

from asd_experiments.config import TrialConfig
from asd_experiments.data.clips import list_clips
from asd_experiments.data.splits import assign_folds
from asd_experiments.data.store import ClipStore
from asd_experiments.errors import InputError
from asd_experiments.models.two_stream import build_two_stream
from asd_experiments.training.fit import EpochReport, FoldResult, fit_fold


class CrossValidation:
    """A trial that has been checked and split, ready to be trained fold by fold.

    Args:
        config: Configuration of the trial.
        store: Clip store.

    Raises:
        InputError: If store, configuration and machine do not fit together; nothing was trained.
    """

    def __init__(self, config: TrialConfig, store: ClipStore) -> None:
        self.classes: list[str] = sorted(store.videos["label"].unique())
        self._config = config
        self._store = store
        _check(config, self.classes)
        self.manifest = assign_folds(
            store.videos,
            folds=config.folds,
            inner_folds=config.inner_folds,
            group_by=config.group_by,
            seed=config.seed,
        )
        self.clips = list_clips(
            store.videos, clip_length=config.clip_length, clip_stride=config.stride
        )

    @property
    def num_folds(self) -> int:
        """Number of outer folds."""
        return int(self.manifest["fold"].nunique())

    def fit(self, fold: int, report: EpochReport) -> FoldResult:
        """Train one fold and predict its validation and test clips.

        Args:
            fold: Number of the fold, counted from 0.
            report: Called after every epoch.
        """
        assigned = self.manifest.loc[
            self.manifest["fold"] == fold, ["patient_id", "group", "split"]
        ]
        own = self.clips.drop(columns=["group", "split"], errors="ignore")
        return fit_fold(
            self._config,
            self._store,
            own.merge(assigned, on="patient_id"),
            fold=fold,
            classes=self.classes,
            report=report,
        )


def _check(config: TrialConfig, classes: list[str]) -> None:
    if len(classes) == 2 and config.positive_class not in classes:
        raise InputError(
            f"positive_class must be one of {', '.join(classes)}, got {config.positive_class!r}"
        )
    if config.device == "gpu" and not torch.cuda.is_available():
        raise InputError("device=gpu, but PyTorch finds no GPU; choose auto or cpu")
    try:
        with torch.device("meta"):
            build_two_stream(
                backbone=config.backbone,
                fusion=config.fusion,
                num_classes=max(2, len(classes)),
                clip_length=config.clip_length,
                size=config.size,
                width=config.width,
                dropout=config.dropout,
            )
    except ValueError as error:
        raise InputError(str(error)) from error
