"""Nodes that could not run the trials of a sweep are named before any begins."""

from dataclasses import replace

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.search.nodes import Errand, obstacle
from asd_experiments.tracking.sweep import log_sweep_start


@pytest.fixture
def errand(tmp_path, small_store, monkeypatch) -> Errand:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")  # is put back afterwards
    before = mlflow.get_tracking_uri()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    run_id = MlflowClient().create_run("0").info.run_id
    (tmp_path / "space.yaml").write_text("parameters: {}")
    log_sweep_start(run_id, {}, tmp_path / "space.yaml", small_store, None)
    mlflow.set_tracking_uri(before)
    return Errand(
        sweep_run_id=run_id,
        tracking_uri=uri,
        store=str(small_store.url),
        digest=small_store.digest,
        folder=str(tmp_path),
        libraries={"mlflow": mlflow.__version__},
    )


def test_a_node_that_can_do_the_work_has_no_obstacle(errand):
    assert obstacle(errand) is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"folder": "/nowhere/sweep"}, "cannot write into the sweep's folder /nowhere/sweep"),
        ({"store": "/nowhere/store"}, "/nowhere/store"),
        ({"tracking_uri": "http://127.0.0.1:1"}, "cannot track runs"),
        ({"sweep_run_id": "unknown"}, "cannot track runs"),
    ],
)
def test_a_node_says_what_it_cannot_reach(errand, wrong, told):
    assert told in obstacle(replace(errand, **wrong))


def test_a_node_with_other_data_or_libraries_says_so(errand):
    assert "it sees another store" in obstacle(replace(errand, digest="other"))
    assert "it has no nonesuch, not 1" in obstacle(replace(errand, libraries={"nonesuch": "1"}))


def test_a_node_that_keeps_artifacts_of_its_own_says_so(errand, tmp_path):
    (tmp_path / "mlruns").rename(tmp_path / "elsewhere")
    assert "does not see the artifacts of runs" in obstacle(errand)
