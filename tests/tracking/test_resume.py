"""A trial that broke off is continued by another run, with the result of an undisturbed one."""

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.errors import InputError
from asd_experiments.tracking import trial
from asd_experiments.tracking.model import load_trial_model
from asd_experiments.tracking.runs import MODEL
from asd_experiments.tracking.trial import train
from asd_experiments.training import cross_validation
from tests.tracking.conftest import small_training


def predictions(run_id: str) -> pd.DataFrame:
    return pd.read_parquet(MlflowClient().download_artifacts(run_id, "predictions.parquet"))


def runs(name: str) -> list:
    experiment = mlflow.get_experiment_by_name("asd_experiments").experiment_id
    return MlflowClient().search_runs([experiment], f"attributes.run_name = '{name}'")


@pytest.fixture(scope="module")
def settings(project_folder, small_store):
    return {"store": small_store.url, "epochs": 2, "backbone": "c3d_gap"}


@pytest.fixture(scope="module")
def broken(settings):
    """The second fold breaks off in its second epoch; the process dies without closing its run."""
    fit_fold = cross_validation.fit_fold

    def break_off(*arguments, fold, report, **others):
        def crash(epoch, figures):
            report(epoch, figures)
            if (fold, epoch) == (1, 2):
                raise RuntimeError("a crash")

        return fit_fold(*arguments, fold=fold, report=crash, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_validation, "fit_fold", break_off)
        with pytest.raises(RuntimeError, match="a crash"):
            train(small_training(**settings, run_name="broken"))
    (run,) = runs("broken")
    MlflowClient().update_run(run.info.run_id, "RUNNING")
    return run.info.run_id


def test_what_differs_is_refused_and_leaves_no_run(settings, broken):
    with pytest.raises(
        InputError, match=r"label_smoothing: the trial began with '0\.0', got '0\.1'"
    ):
        train(small_training(**settings, resume=broken, label_smoothing=0.1, run_name="other"))
    assert runs("other") == []


def test_the_result_is_that_of_an_undisturbed_trial(
    project_folder, settings, broken, monkeypatch, capsys
):
    undisturbed = train(small_training(**settings))
    trained = []
    fit_fold = cross_validation.fit_fold

    def count(*arguments, fold, **others):
        trained.append(fold)
        return fit_fold(*arguments, fold=fold, **others)

    monkeypatch.setattr(cross_validation, "fit_fold", count)
    resumed = train(small_training(**settings, resume=broken))
    assert trained == [1]
    assert predictions(resumed).equals(predictions(undisturbed))
    assert "fold 2 of 2: best epoch" in capsys.readouterr().err
    client = MlflowClient()
    assert client.get_run(broken).info.status == "KILLED"
    assert client.get_run(resumed).data.tags["asd.resumed_from"] == broken
    children = client.search_runs(
        [client.get_run(resumed).info.experiment_id], f"tags.`mlflow.parentRunId` = '{resumed}'"
    )
    for child in children:
        history = client.get_metric_history(child.info.run_id, "val/patient/loss")
        assert sorted(point.step for point in history) == [1, 2]
    assert list((project_folder / "outputs" / "checkpoints").iterdir()) == []
    with pytest.raises(InputError, match=f"{resumed} has finished; nothing is left to do"):
        train(small_training(**settings, resume=resumed))


def test_a_collapse_is_told_and_tagged(settings, monkeypatch, capsys):
    judged = []

    def judge(table, _):
        judged.append(table["fold"].iloc[0])
        return ["test: all one"] if judged[-1] == 1 else []

    monkeypatch.setattr("asd_experiments.tracking.trial.find_collapse", judge)
    run_id = train(small_training(**{**settings, "epochs": 1}))
    assert judged == [0, 1]
    client = MlflowClient()
    run = client.get_run(run_id)
    assert run.data.tags["asd.collapsed"] == "folds 2 of 2"
    children = client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'"
    )
    tags = {child.info.run_name: child.data.tags.get("asd.collapsed") for child in children}
    assert tags == {"fold 1 of 2": None, "fold 2 of 2": "test: all one"}
    assert "fold 2 has collapsed: test: all one" in capsys.readouterr().err


def test_the_batch_size_that_was_found_is_used_and_logged(settings, monkeypatch):
    """As on a machine with a GPU, but trained on the processor."""
    monkeypatch.setattr(cross_validation, "training_device", lambda _: "cuda")
    monkeypatch.setattr(cross_validation.CrossValidation, "find_batch_size", lambda _: 2)
    changes = {"epochs": 1, "device": "auto", "find_batch_size": True}
    run_id = train(small_training(**{**settings, **changes}))
    params = MlflowClient().get_run(run_id).data.params
    assert (params["batch_size"], params["find_batch_size"]) == ("2", "true")


def test_a_refit_that_broke_off_goes_on_and_no_fold_is_trained_again(settings, monkeypatch):
    monkeypatch.setattr(trial, "refit_epochs", lambda _: 2)
    refit, fit_fold, trained = cross_validation.refit, cross_validation.fit_fold, []

    def break_off(*arguments, report, **others):
        def crash(epoch, figures):
            report(epoch, figures)
            if epoch == 2:
                raise RuntimeError("a crash")

        return refit(*arguments, report=crash, **others)

    def count(*arguments, fold, **others):
        trained.append(fold)
        return fit_fold(*arguments, fold=fold, **others)

    monkeypatch.setattr(cross_validation, "fit_fold", count)
    with monkeypatch.context() as patch:
        patch.setattr(cross_validation, "refit", break_off)
        with pytest.raises(RuntimeError, match="a crash"):
            train(small_training(**settings, final="refit", run_name="refit"))
    (broken_off,) = runs("refit")
    client, begun = MlflowClient(), broken_off.info
    query = f"tags.`mlflow.parentRunId` = '{begun.run_id}' and tags.`asd.level` = 'refit'"
    (child,) = client.search_runs([begun.experiment_id], query)
    assert (begun.status, child.info.status) == ("FAILED", "FAILED")
    assert MODEL not in broken_off.data.tags
    run = client.get_run(train(small_training(**settings, final="refit", resume=begun.run_id)))
    assert trained == [0, 1]
    query = query.replace(begun.run_id, run.info.run_id)
    (child,) = client.search_runs([begun.experiment_id], query)
    assert child.info.status == "FINISHED" and child.data.params == {"epochs": "2"}
    history = client.get_metric_history(child.info.run_id, "train/clip/loss")
    assert sorted(point.step for point in history) == [1, 2]
    spec = load_trial_model(run.data.tags[MODEL]).spec
    assert (spec.final, spec.refit_epochs) == ("refit", 2)
