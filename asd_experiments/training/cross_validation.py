"""All folds of one trial."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from asd_experiments.config import TrialConfig
from asd_experiments.data.clips import list_clips
from asd_experiments.data.splits import assign_folds
from asd_experiments.data.store import ClipStore
from asd_experiments.errors import InputError, unknown_choice
from asd_experiments.models.pretrained import FittedWeights, fit_pretrained
from asd_experiments.models.two_stream import build_two_stream
from asd_experiments.training.batch_size import find_batch_size
from asd_experiments.training.callbacks import EpochReport
from asd_experiments.training.fit import FoldResult, device_problem, fit_fold, training_device
from asd_experiments.training.refit import RefitResult, refit


class CrossValidation:
    """A trial that has been checked and split, ready to be trained fold by fold.

    Args:
        config: Configuration of the trial.
        store: Clip store.
        pretrained: What `check_trial` gave, where it was called before. None: it is called here.

    Raises:
        InputError: If store, configuration and machine do not fit together; nothing was trained.
    """

    def __init__(
        self,
        config: TrialConfig,
        store: ClipStore,
        pretrained: Mapping[str, FittedWeights] | None = None,
    ) -> None:
        self.classes: list[str] = sorted(store.videos["label"].unique())
        self._config = config
        self._store = store
        self.pretrained = check_trial(config) if pretrained is None else pretrained
        """What every fold starts from, by the backbone's key; empty: fresh weights."""
        _check_classes(config, self.classes)
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

    def find_batch_size(self) -> int:
        """Find the largest batch that can be trained on this machine's GPU, in every fold.

        Raises:
            InputError: If not even two clips fit.
        """
        clips = self.clips.drop(columns=["group", "split"], errors="ignore").merge(
            self.manifest[self.manifest["split"] == "train"], on="patient_id"
        )
        num_clips = int(clips.groupby("fold").size().min())
        return find_batch_size(self._config, num_clips=num_clips, num_classes=len(self.classes))

    def fit(self, fold: int, report: EpochReport, folder: Path | None = None) -> FoldResult:
        """Train one fold and predict its validation and test clips.

        Args:
            fold: Number of the fold, counted from 0.
            report: Called after every epoch.
            folder: Existing folder from which the fold goes on if it was interrupted. None: a
                temporary one.
        """
        if folder is None:
            with tempfile.TemporaryDirectory(prefix="fold_") as temporary:
                return self.fit(fold, report, Path(temporary))
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
            pretrained=self.pretrained,
            folder=folder,
        )

    def refit(self, epochs: int, report: EpochReport, folder: Path) -> RefitResult:
        """Train one network on all patients.

        Args:
            epochs: What `refit_epochs` gave.
            report: Called after every epoch.
            folder: Existing folder from which it goes on if it was interrupted.
        """
        return refit(
            self._config,
            self._store,
            self.clips,
            epochs=epochs,
            number=self.num_folds,
            classes=self.classes,
            report=report,
            pretrained=self.pretrained,
            folder=folder,
        )


def check_trial(config: TrialConfig) -> dict[str, FittedWeights]:
    """Refuse what cannot be trained on this machine, whatever the data.

    Returns:
        Weights that the backbones start from, by their key in the model; empty: fresh ones.

    Raises:
        InputError: With every reason.
    """
    problems = [problem] if (problem := device_problem(config.device)) else []
    if config.precision == "16-mixed" and training_device(config.device) == "cpu":
        problems.append("precision=16-mixed needs a GPU; choose auto, 32-true or bf16-mixed")
    if config.find_batch_size and training_device(config.device) == "cpu":
        problems.append(
            "find_batch_size=true, but PyTorch finds no GPU whose memory sets a limit; "
            "choose batch_size"
        )
    pretrained: dict[str, FittedWeights] = {}
    try:
        with torch.device("meta"):
            network = build_two_stream(**config.network, num_classes=2)
        pretrained = fit_pretrained(config.pretrained, network, config.motion_pretrained)
    except ValueError as error:
        problems.append(str(error))
    else:
        fresh = [key for key in network.fusion.inputs if key not in pretrained]
        if config.freeze != "none" and fresh:
            problems.append(
                f"freeze={config.freeze} keeps pretrained weights as they are, but these networks "
                f"start fresh: {', '.join(fresh)}; give pretrained or motion_pretrained, or choose "
                "freeze=none"
            )
    if problems:
        raise InputError("\n  ".join(["this trial cannot be trained:", *problems]))
    return pretrained


def _check_classes(config: TrialConfig, classes: list[str]) -> None:
    if len(classes) == 2 and config.positive_class not in classes:
        raise InputError(unknown_choice("positive_class", config.positive_class, classes))
