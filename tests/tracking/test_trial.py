"""One small trial on a store without videos: everything that must be in the tracking server."""

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from mlflow.tracking import MlflowClient

from asd_experiments.config import EvaluateConfig, TrainConfig
from asd_experiments.errors import InputError
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.metrics import evaluate
from asd_experiments.evaluation.temperature import HIGHEST, LOWEST
from asd_experiments.models.backbones import build_backbone
from asd_experiments.models.size import model_size
from asd_experiments.tracking.evaluation import run_evaluate
from asd_experiments.tracking.trial import default_name, train
from asd_experiments.tracking.trial_record import TEMPERATURE
from tests.tracking.conftest import small_training


@pytest.fixture(scope="module")
def trial(project_folder, small_store):
    return MlflowClient().get_run(train(small_training(small_store.url)))


def artifact(run_id: str, path: str) -> Path:
    return Path(MlflowClient().download_artifacts(run_id, path))


def children(run) -> list:
    query = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    return MlflowClient().search_runs([run.info.experiment_id], query)


def test_the_database_is_in_the_project_folder(trial, project_folder):
    assert (project_folder / "mlflow.db").is_file()
    assert mlflow.get_tracking_uri() == f"sqlite:///{project_folder / 'mlflow.db'}"


def test_the_trial_is_finished_and_has_one_finished_child_per_fold(trial):
    assert trial.info.status == "FINISHED"
    folds = children(trial)
    assert sorted(fold.info.run_name for fold in folds) == ["fold 1 of 2", "fold 2 of 2"]
    assert {fold.info.status for fold in folds} == {"FINISHED"}


def test_the_run_is_named_by_its_networks_fusion_and_clip_length(trial):
    assert trial.info.run_name == "slow_50 late_average 8 frames"
    same, other = (TrainConfig(motion_backbone=name) for name in ("slow_50", "x3d_m"))
    assert default_name(same) == "slow_50 late_average 16 frames"
    assert default_name(other) == "slow_50+x3d_m late_average 16 frames"


def test_every_parameter_is_logged_resolved(trial):
    params = trial.data.params
    assert params["backbone"] == "slow_50" and params["segmentation"] == "true"
    assert params["learning_rate"] == "0.0003" and params["patience"] == "10"
    assert (params["num_patients"], params["num_videos"], params["num_clips"]) == ("12", "12", "24")
    config = yaml.safe_load(artifact(trial.info.run_id, "config.yaml").read_text())
    assert config["width"] == 0.125 and config["epochs"] == 1


def test_the_data_set_is_logged_with_the_digest_of_the_store(trial, small_store):
    (dataset,) = trial.inputs.dataset_inputs
    assert dataset.dataset.digest == small_store.digest
    assert dataset.tags[0].value == "training"
    origin = json.loads(artifact(trial.info.run_id, "store.json").read_text())
    assert origin["recipe"] == small_store.recipe


def test_metrics_can_be_recomputed_from_the_prediction_table(trial):
    table = pd.read_parquet(artifact(trial.info.run_id, "predictions.parquet"))
    expected = evaluate(Predictions(table, ["ASD", "non_ASD"], "ASD"))
    logged = trial.data.metrics
    assert {name: logged[name] for name in expected} == pytest.approx(expected)
    for unit in ("clip", "video", "patient"):
        for metric in ("auroc", "auroc_fold_mean", "auroc_fold_sd", "kappa", "sensitivity"):
            assert f"test/{unit}/{metric}" in logged


def test_the_size_of_the_model_is_logged(trial):
    metrics = trial.data.metrics
    # Slow with an eighth of the channels, twice, each with two classes.
    network = build_backbone(
        "slow_50", in_channels=3, clip_length=8, size=32, width=0.125, dropout=0.0
    )
    one = sum(p.numel() for p in network.parameters()) + 2 * (network.num_features + 1)
    fewer_inputs = 8 * 7 * 7  # the motion stem has two channels instead of three
    assert metrics["model/parameters"] == 2 * one - fewer_inputs
    appearance = model_size(network, (3, 8, 32, 32)).gmacs
    assert 1.5 * appearance < metrics["model/gmacs"] < 2 * appearance


def test_the_description_shows_the_figures(trial):
    note = trial.data.tags["mlflow.note.content"]
    assert f"| patient | {trial.data.metrics['test/patient/auroc']:.3f} [" in note


def test_the_prediction_table_names_every_clip_and_stream(trial):
    table = pd.read_parquet(artifact(trial.info.run_id, "predictions.parquet"))
    test = table[table["split"] == "test"]
    assert len(test) == 24 and test["patient_id"].nunique() == 12
    streams = ("probability", "appearance", "motion")
    assert {f"{s}_{c}" for s in streams for c in ("ASD", "non_ASD")} <= set(table.columns)
    assert test["clip_start_seconds"].tolist()[:2] == [(5 + 0) / 25, (5 + 8) / 25]


def test_the_fold_manifest_is_logged_and_disjoint(trial):
    manifest = pd.read_csv(artifact(trial.info.run_id, "folds.csv"))
    assert not manifest.duplicated(["fold", "patient_id"]).any()
    assert manifest["patient_id"].nunique() == 12 and len(manifest) == 24


def test_pictures_are_there_for_every_unit_as_charts_and_as_files(trial):
    client, run_id = MlflowClient(), trial.info.run_id
    files = {item.path for item in client.list_artifacts(run_id, "figures")}
    images = " ".join(item.path for item in client.list_artifacts(run_id, "images"))
    for name in ("confusion_matrix", "roc", "precision_recall", "calibration"):
        for unit in ("clip", "video", "patient"):
            assert f"figures/{name}_{unit}.png" in files
            assert f"{name}_{unit}" in images
    roc = pd.read_csv(artifact(run_id, "tables/roc_patient.csv"))
    assert {"fold", "false_positive_rate", "true_positive_rate"} <= set(roc.columns)


def test_the_labels_of_the_videos_are_logged_without_what_the_store_adds(trial, small_store):
    videos = pd.read_csv(artifact(trial.info.run_id, "videos.csv"))
    assert videos.columns.tolist() == ["video", "patient_id", "label", "site"]
    assert videos["video"].tolist() == small_store.videos["video"].tolist()


def test_judging_the_trial_again_changes_nothing(trial):
    client, run_id = MlflowClient(), trial.info.run_id
    names = [item.path for item in client.list_artifacts(run_id, "tables")] + ["checklist.md"]
    before = {name: artifact(run_id, name).read_bytes() for name in names}
    assert "tables/subgroups.csv" in names and "tables/learning_curves.csv" in names
    run_evaluate(EvaluateConfig(run=run_id))
    assert {name: artifact(run_id, name).read_bytes() for name in names} == before
    assert {i.path for i in client.list_artifacts(run_id, "tables")} <= set(names)
    assert client.get_run(run_id).data.metrics == trial.data.metrics


def test_confusion_counts_are_a_table_too(trial):
    counts = pd.read_csv(artifact(trial.info.run_id, "tables/confusion_matrix_patient.csv"))
    assert set(counts["predicted"]) == {"ASD", "non_ASD"}
    assert counts["count"].sum() == 12


def test_folds_have_curves_over_epochs(project_folder, small_store):
    run_id = train(small_training(small_store.url, epochs=3, patience=3, fusion="motion_only"))
    client = MlflowClient()
    (fold, *_) = children(client.get_run(run_id))
    for name in ("train/clip/objective", "train/clip/loss", "val/clip/loss", "val/patient/loss"):
        history = client.get_metric_history(fold.info.run_id, name)
        assert sorted(point.step for point in history) == [1, 2, 3]
    assert fold.data.params["epochs"] == "3"
    assert 0 <= fold.data.metrics["threshold"] <= 1
    temperature = fold.data.metrics["temperature"]
    assert LOWEST <= temperature <= HIGHEST
    assert (TEMPERATURE in fold.data.tags) == (temperature in (LOWEST, HIGHEST))


def test_folds_have_the_figures_of_their_fusion(project_folder, small_store):
    run_id = train(small_training(small_store.url, fusion="late_weighted"))
    client = MlflowClient()
    folds = children(client.get_run(run_id))
    weights = [fold.data.metrics["fusion/appearance_weight"] for fold in folds]
    assert len(weights) == 2 and all(0 < weight < 1 and weight != 0.5 for weight in weights)


def test_under_mlflow_run_the_trial_is_that_run(project_folder, small_store, monkeypatch):
    """`mlflow run` opened it and logged its raw texts, which cannot be changed any more."""
    client = MlflowClient()
    raw = {"store": "''", "learning_rate": "1e-3", "fusion": "late_average", "run_name": "''"}
    run = client.create_run("0")
    for name, text in raw.items():
        client.log_param(run.info.run_id, name, text)
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    assert train(small_training(small_store.url, learning_rate=1e-3)) == run.info.run_id
    done = client.get_run(run.info.run_id)
    assert done.info.status == "FINISHED" and done.info.run_name == "slow_50 late_average 8 frames"
    assert done.data.params["resolved/store"] == small_store.url
    assert done.data.params["resolved/learning_rate"] == "0.001"
    assert "resolved/fusion" not in done.data.params
    assert "resolved/run_name" not in done.data.params


@pytest.mark.parametrize(
    ("error", "state"), [(RuntimeError("no luck"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_training_that_breaks_off_is_closed_with_its_traceback(
    project_folder, small_store, monkeypatch, error, state
):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("asd_experiments.training.fit.predict_clips", fail)
    with pytest.raises(type(error)):
        train(small_training(small_store.url, run_name=f"ends {state}"))
    (run,) = MlflowClient().search_runs(
        [mlflow.get_experiment_by_name("asd_experiments").experiment_id],
        f"attributes.run_name = 'ends {state}'",
    )
    assert run.info.status == state
    assert [child.info.status for child in children(run)] == [state]
    assert "fit_fold" in artifact(run.info.run_id, "traceback.txt").read_text()
    assert mlflow.active_run() is None


def test_what_was_computed_before_a_failure_is_kept(project_folder, small_store, monkeypatch):
    from asd_experiments.training.cross_validation import CrossValidation

    fit = CrossValidation.fit

    def fail_later(self, fold, *others):
        if fold == 1:
            raise RuntimeError("the second fold fails")
        return fit(self, fold, *others)

    monkeypatch.setattr(CrossValidation, "fit", fail_later)
    with pytest.raises(RuntimeError, match="second fold"):
        train(small_training(small_store.url, run_name="half"))
    (run,) = MlflowClient().search_runs(
        [mlflow.get_experiment_by_name("asd_experiments").experiment_id],
        "attributes.run_name = 'half'",
    )
    states = {child.info.run_name: child for child in children(run)}
    assert states["fold 1 of 2"].info.status == "FINISHED"
    kept = pd.read_parquet(artifact(states["fold 1 of 2"].info.run_id, "predictions.parquet"))
    assert len(kept) > 0


def test_what_cannot_be_trained_is_refused_and_leaves_no_run(project_folder, small_store):
    experiments = [mlflow.get_experiment_by_name("asd_experiments").experiment_id]
    before = len(MlflowClient().search_runs(experiments))
    with pytest.raises(InputError, match="there is no clip store"):
        train(small_training("nowhere.zarr"))
    with pytest.raises(InputError, match="folds must be at most"):
        train(small_training(small_store.url, folds=9))
    assert len(MlflowClient().search_runs(experiments)) == before


def test_a_tracking_server_that_is_set_is_respected(project_folder, tmp_path, monkeypatch):
    from asd_experiments.tracking.runs import use_tracking_store

    before = mlflow.get_tracking_uri()
    elsewhere = f"sqlite:///{tmp_path / 'other.db'}"
    mlflow.set_tracking_uri(None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    use_tracking_store()
    assert mlflow.get_tracking_uri() == elsewhere
    mlflow.set_tracking_uri(before)
