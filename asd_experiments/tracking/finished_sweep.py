"""The sweep that a trial belongs to, read back from MLflow."""

from dataclasses import dataclass

import pandas as pd
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from asd_experiments.tracking.finished_trial import known_run, read_table

TRIALS = "trials.csv"
"""Artifact of a sweep: its trials, the best first."""

_ROW = "row"


@dataclass(frozen=True)
class FinishedSweep:
    """A sweep, read back from MLflow with its table of trials."""

    run: Run

    table: pd.DataFrame | None
    """Its trials, the best first; None if it has not ended."""

    @property
    def run_id(self) -> str:
        """Its run in MLflow."""
        return str(self.run.info.run_id)

    @property
    def winner(self) -> tuple[str, str] | None:
        """Run of the trial that it chose and the metric it was chosen by; None if none finished."""
        logged = self.run.data.metrics
        judged = [name.removeprefix("best/") for name in logged if name.startswith("best/")]
        if self.table is None or not judged:
            return None
        first = next(column for column in self.table.columns if column in judged)
        return str(self.table["run_id"].iloc[0]), first

    @property
    def row_names(self) -> dict[str, str]:
        """Names of rows of its search space, by the trials' runs."""
        if self.table is None or _ROW not in self.table.columns:
            return {}
        named = self.table.dropna(subset=["run_id"]).set_index("run_id")[_ROW]
        return {str(run_id): str(name) for run_id, name in named.items()}


def parent_of(run: Run) -> str | None:
    """The run that a run hangs below."""
    return run.data.tags.get(MLFLOW_PARENT_RUN_ID)


def sweep_of(run: Run) -> FinishedSweep | None:
    """The sweep that a trial's run belongs to; None for a training by itself."""
    parent = parent_of(run)
    if parent is None:
        return None
    sweep = known_run(parent, "sweep")
    if sweep.data.tags.get("asd.level") != "sweep":
        return None
    return FinishedSweep(sweep, read_table(sweep, TRIALS))
