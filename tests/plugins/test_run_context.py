"""MLflow's run context provider: tags of runs that are made in this project, and of no other."""

import socket

import mlflow
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import _run_context_provider_registry
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from asd_experiments import __version__, provenance
from asd_experiments.plugins.run_context import RunContext
from asd_experiments.provenance import DATA_DIGEST
from asd_experiments.tracking import runs
from asd_experiments.tracking.dataset import log_dataset
from asd_experiments.tracking.runs import child_run, command_run

OURS = {"asd.package_version", "asd.code", "asd.node", "asd.gpu"}


def tags_of(run_id: str) -> dict[str, str]:
    return MlflowClient().get_run(run_id).data.tags


def test_mlflow_knows_the_provider():
    assert any(isinstance(known, RunContext) for known in _run_context_provider_registry)


def test_a_run_of_any_program_in_the_project_is_tagged(project_folder):
    (project_folder / "MLproject").write_text("name: asd_experiments\n")
    with mlflow.start_run() as run:
        pass
    tags = tags_of(run.info.run_id)
    assert set(tags) >= OURS
    assert tags["asd.package_version"] == __version__
    assert tags["asd.node"] == socket.gethostname()
    (project_folder / "MLproject").write_text("name: another\n")
    with mlflow.start_run() as run:
        pass
    assert not [name for name in tags_of(run.info.run_id) if name.startswith("asd.")]
    (project_folder / "MLproject").unlink()


def test_a_run_that_mlflow_run_had_made_is_tagged_when_our_command_takes_it(
    project_folder, monkeypatch
):
    made = MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    with command_run(None, "default") as run_id:
        assert run_id == made
        assert set(tags_of(made)) >= OURS


def test_a_child_has_the_tags_of_its_own_process_and_the_data_of_its_parent(
    project_folder, small_store, monkeypatch
):
    client = MlflowClient()
    parent = client.create_run("0").info.run_id
    log_dataset(parent, small_store, "training")
    assert tags_of(parent)[DATA_DIGEST] == small_store.digest
    with child_run(parent, "fold 1", level="fold", key="1") as child:
        assert tags_of(child)[DATA_DIGEST] == small_store.digest
        assert tags_of(child)["asd.node"] == socket.gethostname()
    monkeypatch.setattr(socket, "gethostname", lambda: "another-node")
    with child_run(parent, "fold 1", level="fold", key="1") as again:  # a worker had died
        assert again == child
        assert tags_of(child)["asd.node"] == "another-node"
        assert tags_of(child)[MLFLOW_PARENT_RUN_ID] == parent


def test_a_node_without_a_repository_leaves_the_commit_that_is_known(project_folder, monkeypatch):
    sent = {"asd.code": "dirty", "asd.commit": "abc"}
    known = MlflowClient().create_run("0", tags=sent).info.run_id
    other = MlflowClient().create_run("0").info.run_id
    unversioned = {**provenance.context_tags(), "asd.code": "unversioned"}
    unversioned.pop("asd.commit", None)
    monkeypatch.setattr(runs, "context_tags", lambda: unversioned)
    for run_id in (known, other):
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        with command_run(None, "default"):
            pass
    assert sent.items() <= tags_of(known).items()
    assert tags_of(other)["asd.code"] == "unversioned" and "asd.commit" not in tags_of(other)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    with child_run(known, "fold 1", level="fold", key="1") as child:
        assert sent.items() <= tags_of(child).items()
