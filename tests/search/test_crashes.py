"""Whatever dies in the middle of a sweep, it ends as if nothing had.

A Ray cluster of several nodes, MLflow's server on PostgreSQL, and the study in a database of its
own there; every sweep is compared with an undisturbed one, point by point.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import psutil
import pytest
from mlflow.tracking import MlflowClient
from ray.cluster_utils import Cluster

from asd_experiments.data.store import ClipStore
from asd_experiments.search.study import open_study
from tests.search.files import TRAINED
from tests.search.services import MlflowServer, postgres

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HEALTH = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
SPACE = TRAINED.format(trials=4, epochs=8)
TIMED = "seconds"  # the one metric that differs from run to run


@dataclass
class Place:
    """Where sweeps of these tests run."""

    cluster: Cluster
    server: MlflowServer
    storage: str
    store: ClipStore
    folder: Path
    begun: list[subprocess.Popen] = field(default_factory=list)

    def sweep(self, **options: str) -> subprocess.Popen:
        """Start the command in an experiment of its own."""
        options = {
            "space": "space.yaml",
            "store": str(self.store.url),
            "storage": self.storage,
            "ray_address": self.cluster.address,
            "cpus_per_trial": "1",
            **options,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        process = subprocess.Popen(
            [sys.executable, "-m", "asd_experiments", "sweep", *words],
            cwd=self.folder,
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": self.server.uri,
                "MLFLOW_EXPERIMENT_NAME": "crashes",
                "PYTHONPATH": str(ROOT),
            },
        )
        self.begun.append(process)
        return process

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.server.uri)

    def runs(self, level: str, parent: str | None = None) -> list:
        rule = f"tags.`asd.level` = '{level}'"
        if parent:
            rule += f" and tags.`mlflow.parentRunId` = '{parent}'"
        experiment = self.client.get_experiment_by_name("crashes")
        return self.client.search_runs([experiment.experiment_id], rule) if experiment else []

    def newest_sweep(self) -> str:
        return max(self.runs("sweep"), key=lambda run: run.info.start_time).info.run_id

    def wait_for_epochs(self, sweep: subprocess.Popen, known: set[str], number: int) -> str:
        """Wait until a sweep that is not known has logged some epochs; its run."""
        deadline = time.monotonic() + 600
        while True:
            assert sweep.poll() is None and time.monotonic() < deadline
            new = {run.info.run_id for run in self.runs("sweep")} - known
            for run_id in new:
                if sum(count for *_, count in self.epochs(run_id)) >= number:
                    return run_id
            time.sleep(0.5)

    def epochs(self, sweep_run_id: str) -> list[tuple[str, str, int]]:
        return [
            (trial.info.run_id, fold.info.run_id, len(history))
            for trial in self.runs("trial", sweep_run_id)
            for fold in self.runs("fold", trial.info.run_id)
            if (history := self.client.get_metric_history(fold.info.run_id, "val/clip/loss"))
        ]

    def told(self, sweep_run_id: str) -> dict:
        """All that was logged of a sweep's trials, and which points of epochs came twice."""
        points: set = set()
        twice: set = set()
        states = []
        for trial in self.runs("trial", sweep_run_id):
            for run in (trial, *self.runs("fold", trial.info.run_id)):
                states.append(run.info.status)
                place = trial.data.tags["asd.trial"], run.data.tags.get("asd.fold")
                for metric in set(run.data.metrics) - {TIMED}:
                    for point in self.client.get_metric_history(run.info.run_id, metric):
                        known = (*place, metric, point.step, point.value)
                        if known in points and metric.startswith("train/"):
                            twice.add(known)
                        points.add(known)
        whole = self.client.get_run(sweep_run_id)
        study = open_study(self.storage, sweep_run_id)
        ends = [t.state.name for t in study.trials if t.state != optuna.trial.TrialState.FAIL]
        study._storage._backend.engine.dispose()
        return {
            "state": whole.info.status,
            "states": Counter(states),
            "points": points,
            "twice": twice,
            "best": whole.data.metrics.get("best/val/patient/loss"),
            "ends": Counter(ends),
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_store) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("crashes")
    (folder / "space.yaml").write_text(SPACE)
    with ExitStack() as ends:
        database = ends.enter_context(postgres())
        server = MlflowServer(database("mlflow"), folder)
        ends.callback(server.stop)
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": HEALTH}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        ends.callback(cluster.shutdown)
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        place = Place(cluster, server, database("optuna"), small_store, folder)
        yield place
        for process in place.begun:
            process.kill()


@pytest.fixture(scope="module")
def undisturbed(place) -> dict:
    assert place.sweep().wait(timeout=900) == 0
    told = place.told(place.newest_sweep())
    assert told["state"] == "FINISHED" and told["states"] == {"FINISHED": 4 + 8}
    assert told["ends"] == {"COMPLETE": 4}
    epochs = {
        (t, f, step) for t, f, name, step, _ in told["points"] if f and name == "val/clip/loss"
    }
    assert len(epochs) == 4 * 2 * 8 and not told["twice"]
    return told


def assert_same(told: dict, undisturbed: dict) -> None:
    assert sorted(map(str, told["points"] ^ undisturbed["points"])) == []
    assert told == undisturbed


def known(place) -> set[str]:
    return {run.info.run_id for run in place.runs("sweep")}


def test_a_worker_the_driver_and_a_node_are_killed_one_after_the_other(place, undisturbed):
    before = known(place)
    sweep = place.sweep()
    run_id = place.wait_for_epochs(sweep, before, 4)
    trials = [child for child in psutil.Process().children(recursive=True) if is_trial(child)]
    assert trials
    trials[0].send_signal(signal.SIGKILL)
    place.wait_for_epochs(sweep, before, 16)
    sweep.kill()
    sweep.wait()
    assert place.told(run_id)["state"] == "RUNNING"
    sweep = place.sweep(resume=run_id)
    place.wait_for_epochs(sweep, before, 32)
    place.cluster.remove_node(place.cluster.worker_nodes.copy().pop(), allow_graceful=False)
    try:
        assert sweep.wait(timeout=900) == 0
    finally:
        place.cluster.add_node(num_cpus=1)
    assert_same(place.told(run_id), undisturbed)


def is_trial(process: psutil.Process) -> bool:
    return any(word.startswith("ray::ImplicitFunc") for word in process.cmdline())


def test_the_tracking_server_is_away_for_a_minute(place, undisturbed):
    before = known(place)
    sweep = place.sweep()
    run_id = place.wait_for_epochs(sweep, before, 4)
    place.server.stop()
    time.sleep(60)
    place.server.start()
    assert sweep.wait(timeout=900) == 0
    assert_same(place.told(run_id), undisturbed)
