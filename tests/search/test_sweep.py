"""Whole sweeps on a small store, and what a user finds in MLflow afterwards."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.config import REGISTERED_MODEL, SweepConfig
from asd_experiments.errors import InputError
from asd_experiments.pseudonyms import Pseudonyms, read_key
from asd_experiments.registry.versions import CANDIDATE
from asd_experiments.search.sweep import _locked, _Sweep, sweep
from tests.search.files import TRAINED

ROOT = Path(__file__).parents[2]
SPACE = f"""
name: small
pruner: {{name: asha, min_epochs: 1, reduction_factor: 2}}
{TRAINED.format(trials=3, epochs=2)}
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
    for _, trial in finished.iterrows():
        logged = found[trial["run_id"]].data.metrics
        assert logged["Objective/val/patient/loss"] == trial["val/patient/loss"]
    assert whole.data.metrics["best/val/patient/loss"] == finished["val/patient/loss"].min()
    assert table["run_id"][0] == finished["run_id"].iloc[0]
    version = client.get_model_version_by_alias(REGISTERED_MODEL, CANDIDATE)
    assert version.tags["asd.trial_run"] == table["run_id"][0]
    assert version.tags["asd.model_card"] == f"runs:/{version.run_id}/model_card.html"
    card = Path(client.download_artifacts(version.run_id, "model_card.md")).read_text()
    assert f"{len(table)} configurations were tried by sweep small" in card
    assert "this is the one that the sweep chose, by val/patient/loss" in card
    assert "## Intended use" in version.description and "](#/experiments/" in version.description
    note = whole.data.tags["mlflow.note.content"]
    assert f"{len(table)} configurations were tried" in note and "#/compare-runs?runs=" in note
    page = Path(client.download_artifacts(run_id, "sweep.html")).read_text()
    assert "val/patient/loss, trial by trial" in page


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["optuna", "ray"])
def test_a_sweep_tells_the_truth_of_every_trial(here, small_store, engine, monkeypatch):
    """Under `mlflow run`, whose run every process inherits, and on a database that nobody made.

    Paths are relative, as users write them, and mean the same in every process.
    """
    opened = MlflowClient().create_run("0").info.run_id if engine == "ray" else None
    if opened:
        monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    store = os.path.relpath(str(small_store.url))
    config = SweepConfig(space="space.yaml", store=store, engine=engine, workers=2)
    run_id = sweep(config)
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    assert run_id == (opened or run_id)
    assert "fusion" not in MlflowClient().get_run(run_id).data.params
    assert len(runs("trial")) == 3
    made = [*runs("sweep"), *runs("trial"), *runs("fold")]
    assert {run.data.tags["asd.data_digest"] for run in made} == {small_store.digest}
    assert {run.data.tags["asd.node"] for run in made} == {socket.gethostname()}
    assert_told_truly(run_id)
    assert_nobody_is_named(here, small_store)


def assert_nobody_is_named(here: Path, store) -> None:
    """No id and no video in MLflow, and the key in no file of the sweep, of Ray or of MLflow."""
    key, named = read_key(None), [*runs("sweep"), *runs("trial")]
    assert {run.data.tags.get("asd.anonymised") for run in named} == {Pseudonyms(key).fingerprint}
    files = [path for path in here.rglob("*") if path.is_file()]
    logged = [path for path in files if "mlruns" in path.parts or path.name == "mlflow.db"]
    tables = {"predictions.parquet", "folds.csv", "videos.csv"}
    assert tables | {"mlflow.db"} <= {path.name for path in logged}
    packed = [pd.read_parquet(path).to_csv() for path in logged if path.suffix == ".parquet"]
    names = [*store.videos["patient_id"], *store.videos["video"]]
    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names).encode())
    written = {".csv", ".json", ".yaml", ".md", ".html", ".txt", ".db"}  # else by chance
    texts = {str(path): path.read_bytes() for path in logged if path.suffix in written}
    assert len(texts) > 20
    for place, content in {**texts, "tables": "".join(packed).encode()}.items():
        assert not pattern.search(content), place
    for path in files:
        assert key not in path.read_bytes() and key.hex().encode() not in path.read_bytes(), path


def test_a_sweep_goes_on_with_the_key_that_it_was_begun_with(here, small_store, monkeypatch):
    """On other machines too, where there may be none or the key of somebody else."""
    folder = here / "sweeps" / "begun"
    folder.mkdir(parents=True)
    task = {"sweep_run_id": "begun", "store": str(small_store.url), "is_demo": False}
    task |= {"device": "cpu", "loader_workers": 0, "metrics": ["val/patient/loss"]}
    (here / "right.key").write_text("ab" * 32)
    fingerprint = Pseudonyms(read_key("right.key")).fingerprint
    facts = {"task": task, "started": 0.0, "is_open": False, "anonymised": fingerprint}
    (folder / "sweep.json").write_text(json.dumps(facts))
    by_site = TRAINED.format(trials=1, epochs=1).replace(
        "inner_folds: 2", "inner_folds: 2, group_by: site"
    )
    (folder / "space.yaml").write_text(by_site)

    def found(**given: object) -> _Sweep:
        return _Sweep.find(SweepConfig(folder=str(here / "sweeps"), **given), "begun")

    (here / "other.key").write_text("cd" * 32)
    with pytest.raises(InputError, match=rf"sweep begun has pseudonyms of the key {fingerprint}"):
        found(pseudonym_key="other.key")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "nothing"))
    with pytest.raises(InputError, match=r"pseudonym_key: there is no file '.*pseudonyms\.key'"):
        found()
    with pytest.raises(InputError, match="anonymise: the sweep begun was begun with true"):
        found(anonymise=False, pseudonym_key="right.key")
    begun = found(pseudonym_key="right.key")
    assert begun.task.pseudonyms.fingerprint == fingerprint
    assert (
        begun.task.pseudonyms.text("in 'site 1'") == f"in '{begun.task.pseudonyms.group('site 1')}'"
    )
    begun.keep(is_open=False)
    assert json.loads((folder / "sweep.json").read_text()) == facts


ROWS = """
name: rows
objective: {metric: val/patient/loss, direction: minimize}
fixed:
  {backbone: c3d_gap, size: 32, clip_length: 8, folds: 2, inner_folds: 2, epochs: 1}
rows:
  good: {fusion: late_average, width: 0.125}
  bad: {fusion: late_average, width: 1, pretrained: nowhere.pt}
"""


@pytest.mark.slow
def test_a_failed_trial_fails_the_command_and_nothing_else(here, small_store):
    (here / "space.yaml").write_text(ROWS)
    with pytest.raises(SystemExit, match="1 trial failed; its run in MLflow says why"):
        sweep(SweepConfig(space="space.yaml", store=str(small_store.url), workers=1))
    assert {run.info.status for run in runs("trial")} == {"FINISHED", "FAILED"}
    (failed,) = [run for run in runs("trial") if run.info.status == "FAILED"]
    traceback = MlflowClient().download_artifacts(failed.info.run_id, "traceback.txt")
    assert "nowhere.pt" in Path(traceback).read_text()
    (whole,) = runs("sweep")
    assert whole.info.status == "FINISHED" and "1 failed" in whole.data.tags["mlflow.note.content"]
    table = pd.read_csv(MlflowClient().download_artifacts(whole.info.run_id, "trials.csv"))
    assert "nowhere.pt" in table["error"].iloc[-1]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["optuna", "ray"])
def test_a_sweep_that_is_stopped_goes_on(here, small_store, engine):
    MlflowClient().search_experiments()  # makes the database before two processes want to
    command = [sys.executable, "-m", "asd_experiments", "sweep", "--engine", engine]
    arguments = ["--space", "space.yaml", "--store", str(small_store.url)]
    process = subprocess.Popen([*command, *arguments], start_new_session=True)
    wait_for(lambda: any("train/clip/loss" in run.data.metrics for run in runs("fold")), process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) != 0
    (stopped,) = runs("sweep")
    assert stopped.info.status == "KILLED"
    left = {run.info.status for run in [*runs("trial"), *runs("fold")]}
    assert left <= {"KILLED", "FINISHED"}  # a fold may have ended before the signal arrived
    run_id = stopped.info.run_id
    assert sweep(SweepConfig(resume=run_id, engine=engine)) == run_id
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    assert len(runs("trial")) == 3 and len(runs("sweep")) == 1
    assert_told_truly(run_id)


def test_the_next_sweep_closes_what_a_crash_left_open(here):
    """Not a sweep that somebody leads or helps, and not what is closed."""
    client = MlflowClient()

    def left(name: str) -> list[str]:
        """A sweep with a trial and a fold, all open."""
        ids: list[str] = []
        for level in ("sweep", "trial", "fold"):
            tags = {"mlflow.parentRunId": ids[-1]} if ids else {}
            ids.append(client.create_run("0", tags={**tags, "asd.level": level}).info.run_id)
        folder = here / "sweeps" / ids[0]
        folder.mkdir(parents=True)
        facts = {"task": {}, "started": 0.0, "is_open": name != "settled"}
        (folder / "sweep.json").write_text(json.dumps(facts))
        return ids

    crashed, led, helped, settled = map(left, ("crashed", "led", "helped", "settled"))
    with (
        _locked(here / "sweeps" / led[0] / "leads.lock"),
        _locked(here / "sweeps" / helped[0] / "help.lock", shared=True),
        pytest.raises(InputError, match="has nothing of a sweep unknown"),
    ):
        sweep(SweepConfig(resume="unknown", folder=str(here / "sweeps")))
    states = {
        name: [client.get_run(i).info.status for i in ids]
        for name, ids in {
            "crashed": crashed,
            "led": led,
            "helped": helped,
            "settled": settled,
        }.items()
    }
    assert states.pop("crashed") == ["KILLED"] * 3
    assert set(map(tuple, states.values())) == {("RUNNING",) * 3}
    facts = json.loads((here / "sweeps" / crashed[0] / "sweep.json").read_text())
    assert facts["is_open"] is False


def wait_for(condition, process, *, seconds=240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(1)
