"""MLflow's data set source for clip stores: what was logged opens again, and nothing else."""

import json
import shutil
from pathlib import Path

import mlflow
import pytest
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.tracking import MlflowClient

from asd_experiments.data.store import ClipStore
from asd_experiments.errors import InputError
from asd_experiments.plugins.clip_store_source import ClipStoreSource
from asd_experiments.tracking.dataset import log_dataset


@pytest.fixture
def logged(project_folder, small_store):
    """The data set of a run, as the tracking server gives it."""
    run_id = MlflowClient().create_run("0").info.run_id
    log_dataset(run_id, small_store, "training")
    (given,) = MlflowClient().get_run(run_id).inputs.dataset_inputs
    return given.dataset


def test_a_logged_data_set_opens_its_store_again(logged, small_store):
    source = mlflow.data.get_source(logged)
    store = source.load()
    assert isinstance(store, ClipStore)
    assert (store.url, store.digest) == (small_store.url, small_store.digest)
    assert source.to_json() == logged.source


def test_another_store_in_its_place_is_refused(logged, make_store, small_store, tmp_path):
    source = mlflow.data.get_source(logged)
    other = make_store(4)
    with pytest.raises(InputError, match=f"must be {small_store.digest}, got {other.digest}"):
        source.load(str(other.url))
    moved = shutil.copytree(str(small_store.url), tmp_path / "moved.zarr")
    assert source.load(str(moved)).digest == small_store.digest


def test_a_store_that_is_gone_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no clip store at 'gone.zarr'.*load\(url\)"):
        ClipStoreSource("gone.zarr", "a digest").load()


def test_a_place_that_was_logged_without_a_digest_is_opened_as_it_is(small_store, monkeypatch):
    monkeypatch.chdir(Path(str(small_store.url)).parent)
    source = ClipStoreSource.from_json(json.dumps({"uri": "store.zarr"}))
    assert source.load().digest == small_store.digest
    assert source.to_dict() == {"uri": "store.zarr"}


def test_an_open_store_is_a_source_and_a_path_is_left_to_others(small_store):
    source = resolve_dataset_source(small_store)
    assert isinstance(source, ClipStoreSource)
    assert (source.uri, source.digest) == (small_store.url, small_store.digest)
    assert not ClipStoreSource._can_resolve(str(small_store.url))
