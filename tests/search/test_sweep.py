"""Whole sweeps on a small store, and what a user finds in MLflow afterwards."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.config import SweepConfig
from asd_experiments.errors import InputError
from asd_experiments.search.sweep import sweep
from asd_experiments.tracking.sweep import ALIAS, REGISTERED_MODEL

ROOT = Path(__file__).parents[2]
SPACE = """
name: small
objective: {metric: val/patient/loss, direction: minimize}
sampler: {name: random, seed: 1}
pruner: {name: asha, min_epochs: 1, reduction_factor: 2}
budget: {trials: 3}
fixed:
  {backbone: c3d_gap, size: 32, width: 0.125, clip_length: 8, folds: 2, inner_folds: 2, epochs: 2}
parameters:
  fusion: [late_average, feature_concat]
  learning_rate: {low: 1e-3, high: 1e-2, log: true}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with a search space and a tracking store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    MlflowClient().search_experiments()  # makes the database before several processes want to
    (tmp_path / "space.yaml").write_text(SPACE)
    yield tmp_path
    mlflow.set_tracking_uri(before)


def runs(level: str) -> list:
    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, f"tags.`asd.level` = '{level}'")


def assert_told_truly(run_id: str) -> None:
    """Every run in its true state, the sweep's with all that a reader needs."""
    client = MlflowClient()
    table = pd.read_csv(client.download_artifacts(run_id, "trials.csv"))
    states = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
    found = {run.info.run_id: run for run in runs("trial")}
    assert dict(zip(table["run_id"], table["state"].map(states), strict=True)) == {
        key: run.info.status for key, run in found.items()
    }
    assert all(run.data.tags["mlflow.parentRunId"] == run_id for run in found.values())
    assert "RUNNING" not in {run.info.status for run in runs("fold")}
    whole = client.get_run(run_id)
    finished = table[table["state"] == "COMPLETE"]
    assert whole.data.metrics["best/val/patient/loss"] == finished["val/patient/loss"].min()
    assert table["run_id"][0] == finished["run_id"].iloc[0]
    version = client.get_model_version_by_alias(REGISTERED_MODEL, ALIAS)
    assert version.tags["asd.trial_run"] == table["run_id"][0]
    note = whole.data.tags["mlflow.note.content"]
    assert f"{len(table)} configurations were tried" in note and "#/compare-runs?runs=" in note
    page = Path(client.download_artifacts(run_id, "sweep.html")).read_text()
    assert "val/patient/loss, trial by trial" in page


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["optuna", "ray"])
def test_a_sweep_tells_the_truth_of_every_trial(here, small_store, engine):
    config = SweepConfig(space="space.yaml", store=str(small_store.url), engine=engine, workers=2)
    run_id = sweep(config)
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    assert len(runs("trial")) == 3
    assert_told_truly(run_id)
    with pytest.raises(InputError, match="has nothing of a sweep unknown"):
        sweep(SweepConfig(resume="unknown", engine=engine))


@pytest.mark.slow
def test_a_sweep_that_is_stopped_goes_on(here, small_store):
    command = [sys.executable, "-m", "asd_experiments", "sweep", "--engine", "optuna"]
    arguments = ["--space", "space.yaml", "--store", str(small_store.url)]
    process = subprocess.Popen([*command, *arguments], start_new_session=True)
    wait_for(lambda: any("train/clip/loss" in run.data.metrics for run in runs("fold")), process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) != 0
    (stopped,) = runs("sweep")
    assert stopped.info.status == "KILLED"
    assert {run.info.status for run in [*runs("trial"), *runs("fold")]} == {"KILLED"}
    run_id = stopped.info.run_id
    assert sweep(SweepConfig(resume=run_id, engine="optuna")) == run_id
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    assert len(runs("trial")) == 3 and len(runs("sweep")) == 1
    assert_told_truly(run_id)


def wait_for(condition, process, *, seconds=240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(1)
