"""A finished trial, read back from MLflow with all that it takes to judge it again."""

import os
from dataclasses import dataclass
from functools import cached_property
from tempfile import TemporaryDirectory
from typing import TypeVar

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from asd_experiments.errors import InputError
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.tracking.runs import (
    RESOLVED,
    is_tracker_lost,
    runs_below,
    tracking_address,
)

PREDICTIONS, VIDEOS, FOLDS = "predictions.parquet", "videos.csv", "folds.csv"
"""Artifacts of a trial: every clip's probabilities, the labels, and who was in which fold."""

STORE = "store.json"
"""Artifact of a trial: how its clip store was made, and which videos could not be stored."""

_PROBABILITY = "probability_"
_TEXTS = dict.fromkeys(("video", "patient_id", "group", "label", "view", "disease"), str)

_Trial = TypeVar("_Trial", bound="FinishedTrial")


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that came to its end."""

    run: Run
    predictions: Predictions

    @classmethod
    def read(cls: type[_Trial], run_id: str, parameter: str = "run") -> _Trial:
        """Read a trial from the tracking server.

        Args:
            run_id: Its run.
            parameter: The parameter that named it.

        Raises:
            InputError: If the run is unknown, no trial, not finished, or without predictions.
        """
        run = known_run(run_id, parameter)
        if problem := why_not_comparable(run):
            raise InputError(f"{parameter}: the run {run_id} {problem}")
        return cls.of(run)

    @classmethod
    def of(cls: type[_Trial], run: Run) -> _Trial:
        """Read the predictions of a run that is known to be a finished trial.

        Raises:
            InputError: If it has none.
        """
        parameters = resolved_parameters(run)
        table = read_table(run, PREDICTIONS)
        if table is None:
            raise InputError(
                f"the run {run.info.run_id} has no {PREDICTIONS}; it cannot be judged again: "
                "train it anew"
            )
        classes = [
            str(name).removeprefix(_PROBABILITY)
            for name in table.columns
            if str(name).startswith(_PROBABILITY)
        ]
        return cls(run, Predictions(table, classes, parameters["positive_class"]))

    @property
    def run_id(self) -> str:
        """Its run in MLflow."""
        return str(self.run.info.run_id)

    @property
    def name(self) -> str:
        """Name of its run."""
        return str(self.run.info.run_name)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Its parameters as they were used, as texts."""
        return resolved_parameters(self.run)

    @property
    def group_by(self) -> str:
        """Column of the labels whose values its folds never divide."""
        return group_by_of(self.run)

    @cached_property
    def videos(self) -> pd.DataFrame | None:
        """The labels of its videos with all metadata; None for a trial that did not log them."""
        return read_table(self.run, VIDEOS)

    @property
    def data_digest(self) -> str:
        """Digest of the clip store that it was trained on."""
        inputs = self.run.inputs.dataset_inputs if self.run.inputs else []
        return str(inputs[0].dataset.digest) if inputs else ""

    def training_seconds(self) -> float:
        """How long its folds were trained, seconds."""
        return sum(fold.data.metrics.get("seconds", 0.0) for fold in runs_below(self.run))


def known_run(run_id: str, parameter: str) -> Run:
    """A run of the tracking server.

    Raises:
        InputError: If there is none of this id.
    """
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException as error:
        if is_tracker_lost(error):
            raise
        raise InputError(
            f"{parameter}: {tracking_address()} knows no run {run_id!r}; its id is in the address "
            "of its page in MLflow (set MLFLOW_TRACKING_URI if it is on another server)"
        ) from error


def why_not_comparable(run: Run) -> str | None:
    """What a run lacks to be judged or compared; None for a finished trial."""
    level = run.data.tags.get("asd.level")
    if level != "trial":
        return f"is no trial but {_what_it_is(run, level)}"
    if run.info.status != "FINISHED":
        return f"is {run.info.status}, so its figures are partial; give one that is FINISHED"
    return None


def _what_it_is(run: Run, level: str | None) -> str:
    """In words, with the run that was probably meant."""
    if level == "fold":
        return f"a fold of the trial {run.data.tags.get(MLFLOW_PARENT_RUN_ID)}; give that one"
    if level == "refit":
        return f"the refit of the trial {run.data.tags.get(MLFLOW_PARENT_RUN_ID)}; give that one"
    if level == "sweep":
        return "a sweep; give one of its trials, which its table trials.csv names"
    return f"a run of {level or 'another program'}; give the run of a training"


def resolved_parameters(run: Run) -> dict[str, str]:
    """Parameters of a run as its command used them, where `mlflow run` logged other texts."""
    logged = dict(run.data.params)
    used = {name: value for name, value in logged.items() if not name.startswith(RESOLVED)}
    used = {name: _unquoted(value) for name, value in used.items()}
    return used | {
        name.removeprefix(RESOLVED): value
        for name, value in logged.items()
        if name.startswith(RESOLVED)
    }


def group_by_of(run: Run) -> str:
    """Column of the labels whose values the folds of a run never divide."""
    return resolved_parameters(run).get("group_by", "patient_id")


def _unquoted(value: str) -> str:
    """What was meant by a parameter that `mlflow run` logged as the shell would read it."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == "'" else value


def read_table(run: Run, name: str) -> pd.DataFrame | None:
    """A table among the artifacts of a run; None if it has none of that name."""
    client = MlflowClient()
    folder_of_it = name.rpartition("/")[0] or None
    if name not in {item.path for item in client.list_artifacts(run.info.run_id, folder_of_it)}:
        return None
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one for every table
    with TemporaryDirectory(prefix="table_") as folder:
        path = client.download_artifacts(run.info.run_id, name, folder)
        if name.endswith(".parquet"):
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=_TEXTS, keep_default_na=False, na_values=[""])
