"""What belongs to the networks of a logged model: how to build, feed and read them."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from asd_experiments.config import FinalName
from asd_experiments.errors import InputError
from asd_experiments.evaluation.predictions import positive_index
from asd_experiments.evaluation.temperature import at_temperature

FINAL = -1
"""Number of the refitted network, beside those of the folds; and the value of the prediction
parameter `fold` that stands for what the model answers with by default."""


@dataclass(frozen=True)
class ModelSpec:
    """All that it takes to rebuild the networks of a trial, to feed them and to read them.

    What has a default here is lacking in models of version 0.1.0 before its release; they can be
    looked into, but `check_complete` refuses to classify with them.
    """

    network: dict[str, Any]
    """Arguments of `build_two_stream` but the number of classes."""

    classes: list[str]
    """Labels in the order of the network's outputs."""

    positive_class: str
    """Label that is decided by the threshold (two classes)."""

    thresholds: dict[str, float]
    """Decision threshold of each fold, as it was logged: of probabilities that are not calibrated.
    Empty for three or more classes."""

    clip_stride: int
    """Frames from the start of a clip to the next one's."""

    segmentation: bool
    """Whether both streams are blank outside the body."""

    normalisation: dict[str, Any]
    """Mean and deviation that RGB is scaled to; they belong to the weights."""

    recipe: dict[str, Any]
    """Preprocessing parameters."""

    folds: int
    """Number of folds, each of which has a network."""

    temperatures: dict[str, float] = field(default_factory=dict)
    """Temperature of each fold, fitted on its inner validation patients."""

    final: FinalName = "ensemble"
    """What answers by default: the mean over the networks of all folds, or a network refitted on
    all patients."""

    refit_epochs: int | None = None
    """Epochs of the refitted network. None: there is none."""

    frame_rate_hz: float | None = None
    """Median frame rate of the training videos, which a video's is compared with."""

    training_videos: list[str] = field(default_factory=list)
    """SHA-256 of the files of all videos that the networks were trained, validated or tested on."""

    training_patients: list[str] = field(default_factory=list)
    """Pseudonyms of all their patients; empty if the trial has ids, which no model carries."""

    anonymised: str | None = None
    """Fingerprint of the key of these pseudonyms."""

    run_id: str = ""
    """Run of the trial in MLflow."""

    store_digest: str = ""
    """Digest of the clip store."""

    trained_with: dict[str, str] = field(default_factory=dict)
    """Name and version of what trained the networks."""

    backends: dict[str, str] = field(default_factory=dict)
    """Name and version of what preprocessed the training videos, and the kind of device."""

    figures: dict[str, float] = field(default_factory=dict)
    """Cross-validated figures of the trial, by the names of its metrics."""

    @classmethod
    def read(cls, file: Path) -> "ModelSpec":
        """Read the specification of a logged model.

        Raises:
            InputError: If it was written by a newer version.
        """
        content = json.loads(file.read_text())
        if unknown := sorted(content.keys() - {f.name for f in fields(cls)}):
            raise InputError(
                f"the model was logged by a newer version of this project: {', '.join(unknown)} "
                "is unknown here; install that version, or load it with mlflow.pyfunc.load_model "
                "where this one is not installed"
            )
        return cls(**content)

    def write(self, file: Path) -> None:
        """Write the specification of a model to be logged."""
        file.write_text(json.dumps(asdict(self), indent=2))

    def check_complete(self) -> None:
        """Refuse a model whose probabilities cannot be calibrated.

        Raises:
            InputError: If it has no temperatures.
        """
        if len(self.temperatures) != self.folds:
            raise InputError(
                "the model was logged by an earlier version of this project and holds no "
                "temperatures, which calibrate its probabilities; train it anew, or load it with "
                "mlflow.pyfunc.load_model in a process of its own outside this project, where it "
                "runs with the code that it was logged with"
            )

    def networks(self, fold: int) -> list[int]:
        """Numbers of the networks that answer together.

        Args:
            fold: Number of a fold; `FINAL`: what the model answers with by default.

        Raises:
            InputError: If there is no such fold.
        """
        if 0 <= fold < self.folds:
            return [fold]
        if fold == FINAL:
            return [FINAL] if self.final == "refit" else list(range(self.folds))
        default = "the refitted network" if self.final == "refit" else "the mean over all"
        raise InputError(
            f"fold must be 0 to {self.folds - 1}, or {FINAL} for {default}, got {fold}"
        )

    def temperature(self, network: int) -> float:
        """Temperature of a network; of the refitted one, the geometric mean of the folds'."""
        if network == FINAL:
            logs = [math.log(value) for value in self.temperatures.values()]
            return math.exp(sum(logs) / len(logs))
        return self.temperatures[str(network)]

    def threshold(self, networks: list[int]) -> float | None:
        """Threshold of the calibrated probability of the positive class; None: three classes.

        That of a fold is the logged one at the fold's temperature, so the fold decides as it did.
        That of several networks is the mean of theirs, that of the refitted one the mean of the
        folds'.
        """
        if not self.thresholds:
            return None
        folds = range(self.folds) if networks == [FINAL] else networks
        logged = np.array([self.thresholds[str(fold)] for fold in folds])
        temperatures = np.array([self.temperature(fold) for fold in folds])
        pairs = np.stack([logged, 1 - logged], axis=1)
        return float(at_temperature(pairs, temperatures)[:, 0].mean())

    @property
    def positive(self) -> int | None:
        """Index of the positive class; None for three or more classes, which have none."""
        return positive_index(self.classes, self.positive_class)
