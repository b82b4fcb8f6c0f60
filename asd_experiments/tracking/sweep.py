"""The run of a sweep in MLflow, and the states of the runs of its trials."""

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from asd_experiments.data.store import ClipStore
from asd_experiments.pseudonyms import Pseudonyms
from asd_experiments.tracking.anonymity import ANONYMISED
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.dataset import log_dataset, store_origin
from asd_experiments.tracking.finished_sweep import TRIALS
from asd_experiments.tracking.finished_trial import STORE
from asd_experiments.tracking.runs import (
    close_as_killed,
    log_metrics,
    log_parameters,
    runs_below,
)


def log_sweep_start(
    run_id: str,
    facts: Mapping[str, object],
    space_file: Path,
    store: ClipStore,
    pseudonyms: Pseudonyms | None,
) -> None:
    """Log all that is known before the first trial."""
    client = MlflowClient()
    client.set_tag(run_id, "asd.level", "sweep")
    if pseudonyms is not None:
        client.set_tag(run_id, ANONYMISED, pseudonyms.fingerprint)
    log_parameters(run_id, facts)
    client.log_artifact(run_id, str(space_file))
    client.log_dict(run_id, store_origin(store), STORE)
    log_dataset(run_id, store, "search")


def tracking_obstacle(uri: str, sweep_run_id: str) -> str | None:
    """Why this machine cannot track trials of a sweep; None if it can.

    Args:
        uri: Where the sweep is tracked.
        sweep_run_id: Its run.
    """
    # A server that is not there is told at once, in the process that only looks for obstacles.
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    try:
        artifacts = {item.path for item in MlflowClient(uri).list_artifacts(sweep_run_id)}
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0][:300]
        return f"it cannot track runs ({reason}); see that it reaches MLFLOW_TRACKING_URI"
    if STORE not in artifacts:
        return (
            "it does not see the artifacts of runs; start `mlflow server`, which takes them from "
            "everywhere, or share their folder"
        )
    return None


def trial_runs(sweep_run_id: str) -> dict[str, Run]:
    """Runs of a sweep's trials by the trials' keys."""
    sweep = MlflowClient().get_run(sweep_run_id)
    trials = (run for run in runs_below(sweep) if run.data.tags.get("asd.level") == "trial")
    return {run.data.tags["asd.trial"]: run for run in trials}


def settle(sweep_run_id: str, states: Mapping[str, str]) -> None:
    """Give every trial's run its true state, whoever left it in another.

    Args:
        sweep_run_id: The sweep's run.
        states: State of the run of each trial that nothing works on any more, by its key.
    """
    client = MlflowClient()
    for key, run in trial_runs(sweep_run_id).items():
        if key in states and run.info.status != states[key]:
            close_as_killed(run.info.run_id)
            client.set_terminated(run.info.run_id, states[key])


def log_sweep_end(
    run_id: str, table: pd.DataFrame, page: str, metrics: Mapping[str, float], note: str
) -> None:
    """Log the table of trials, the page of plots and what a reader sees first."""
    client = MlflowClient()
    log_table(run_id, table, TRIALS)
    client.log_text(run_id, page, "sweep.html")
    log_metrics(run_id, metrics)
    client.set_tag(run_id, MLFLOW_RUN_NOTE, note)
