"""The commands that a user types: `mlflow run . -e ...` on this project."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from asd_experiments import __version__
from tests.tracking.conftest import SMALL

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def environment(folder: Path) -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "OMP_NUM_THREADS": "1",
    }


def arguments(entry_point: str, **parameters: object) -> list[str]:
    pairs = [word for name, value in parameters.items() for word in ("-P", f"{name}={value}")]
    return ["mlflow", "run", str(ROOT), "-e", entry_point, "--env-manager", "local", *pairs]


def run(folder: Path, entry_point: str, **parameters: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(entry_point, **parameters),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def runs(folder: Path, level: str) -> list:
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return client.search_runs(["0"], f"tags.`asd.level` = '{level}'")


def test_train_is_one_trial_with_its_folds(tmp_path, small_store):
    done = run(tmp_path, "train", store=small_store.url, learning_rate="1e-3", **SMALL)
    assert done.returncode == 0, done.stderr
    (trial,) = runs(tmp_path, "trial")
    assert trial.info.status == "FINISHED"
    assert trial.data.params["learning_rate"] == "1e-3"
    assert trial.data.params["resolved/learning_rate"] == "0.001"
    assert trial.data.params["fusion"] == "late_average"
    folds = runs(tmp_path, "fold")
    assert len(folds) == 2
    for made in (trial, *folds):  # the first by `mlflow run`, before our code had started
        tags = made.data.tags
        assert tags["asd.data_digest"] == small_store.digest
        assert tags["asd.package_version"] == __version__
        assert tags["asd.node"] == socket.gethostname()
        assert {"asd.code", "asd.gpu"} < set(tags)
    assert f"runs/{trial.info.run_id}" in done.stdout


def test_wrong_parameters_end_the_run_as_failed_with_all_of_them_named(tmp_path):
    done = run(tmp_path, "train", folds=1, backbone="q", flods=3)
    assert done.returncode != 0
    for expected in ("3 problems", "did you mean '--folds'", "got 'q'", "got '1'"):
        assert expected in done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert [r.info.status for r in client.search_runs(["0"])] == ["FAILED"]


def stopped(tmp_path: Path, command: list[str], send: Callable[[int], None]) -> str:
    """Start a training, stop it in the middle of a fold, and look at what is left of it.

    Returns:
        What it said.
    """
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.search_experiments()  # makes the database before two processes want to
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**environment(tmp_path), "MLFLOW_EXPERIMENT_ID": "0"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not any("train/clip/loss" in fold.data.metrics for fold in runs(tmp_path, "fold")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(1)
    send(process.pid)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert [r.info.status for r in runs(tmp_path, "fold")] == ["KILLED"]
    return said.decode()


ENDLESS = {**SMALL, "epochs": 1000, "patience": 1000}


@pytest.mark.parametrize(
    ("send", "stop", "loader_workers"),
    [
        (os.kill, signal.SIGTERM, 0),
        (os.killpg, signal.SIGTERM, 2),  # to those that read clips, too
    ],
)
def test_a_training_that_is_stopped_is_killed_with_its_fold(
    tmp_path, small_store, send, stop, loader_workers
):
    """The signal goes to the training itself, as a batch scheduler or a terminal sends it."""
    settings = {**ENDLESS, "store": small_store.url, "loader_workers": loader_workers}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "asd_experiments", "train", *words]
    said = stopped(tmp_path, command, lambda pid: send(pid, stop))
    assert [r.info.status for r in runs(tmp_path, "trial")] == ["KILLED"]
    # A signal that comes while Python clears something away is reported there, and comes again.
    assert said.count("Traceback") == said.count("Exception ignored in")
    assert f"stopped by {stop.name}" in said


def test_ctrl_c_reaches_everything_below_mlflow_run(tmp_path, small_store):
    """A terminal sends SIGINT to all; `mlflow run` then sends SIGTERM to its child as well."""
    command = arguments("train", **ENDLESS, store=small_store.url)
    stopped(tmp_path, command, lambda pid: os.killpg(pid, signal.SIGINT))
    deadline = time.monotonic() + 30  # the child may close its run after its parent has ended
    while runs(tmp_path, "trial")[0].info.status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(1)
    assert runs(tmp_path, "trial")[0].info.status in {"KILLED", "FAILED"}
