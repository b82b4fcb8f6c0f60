"""The command `explain` on trials of a simulated cohort and of small stores."""

from copy import deepcopy
from pathlib import Path

import av
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.config import ExplainConfig, PreprocessConfig, SimulateConfig
from asd_experiments.errors import InputError
from asd_experiments.explanation.randomisation import WHOLLY_RANDOM
from asd_experiments.simulation.cohort import simulate
from asd_experiments.tracking.explanation import explain
from asd_experiments.tracking.model import TwoStreamVideoModel
from asd_experiments.tracking.trial import train
from preprocess.cohort import preprocess
from tests.tracking.conftest import small_training

pytestmark = pytest.mark.slow

REGIONS = ("body", "head_and_shoulders", "trunk", "legs")
QUICK = {"steps": 8, "sanity_clips": 1, "device": "cpu"}


def explanation(run, **changes):
    return explain(ExplainConfig(run=run, **{**QUICK, **changes}))


def artifact(run_id: str, path: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path))


def runs(name: str) -> list:
    experiment = mlflow.get_experiment_by_name("asd_experiments").experiment_id
    return MlflowClient().search_runs([experiment], f"attributes.run_name = '{name}'")


@pytest.fixture(scope="module")
def trial(project_folder: Path) -> str:
    folder = project_folder / "cohort"
    labels = simulate(SimulateConfig(out=str(folder), patients=8, videos_per_patient=1, seconds=1))
    store = str(project_folder / "store.zarr")
    preprocess(PreprocessConfig(videos=str(folder), labels=str(labels), store=store, size=48))
    return train(small_training(store, size=48, clip_length=16, run_name="tiny"))


@pytest.fixture(scope="module")
def tested(trial) -> pd.DataFrame:
    table = pd.read_parquet(artifact(trial, "predictions.parquet"))
    return table[table["split"] == "test"]


@pytest.fixture(scope="module")
def explained(trial) -> mlflow.entities.Run:
    return MlflowClient().get_run(explanation(trial, count=2))


def test_the_run_is_one_of_its_own_that_names_the_trial(trial, explained):
    tags = explained.data.tags
    assert explained.info.status == "FINISHED" and explained.info.run_name == "explain tiny"
    assert (tags["asd.level"], tags["asd.explains"]) == ("explain", trial)
    assert "mlflow.parentRunId" not in tags
    (dataset,) = explained.inputs.dataset_inputs
    (trained_on,) = MlflowClient().get_run(trial).inputs.dataset_inputs
    assert dataset.dataset.digest == trained_on.dataset.digest
    assert explained.data.params["count"] == "2" and explained.data.params["device"] == "cpu"


def test_the_table_has_a_row_per_clip_and_map_with_the_logged_probability(explained, tested):
    table = pd.read_csv(artifact(explained.info.run_id, "saliency.csv"))
    assert len(table) == 2 * 4 and table["patient_id"].nunique() == 2
    assert table["wrong"].tolist() == sorted(table["wrong"], reverse=True)
    for _, row in table.iterrows():
        rows = tested[tested["patient_id"] == row["patient_id"]]
        own = rows[rows["clip_start"] == row["clip_start"]].iloc[0]
        assert row["probability"] == own[f"probability_{row['decision']}"]
        assert row["probability"] == rows[f"probability_{row['decision']}"].max()
        parts = sum(row[region] for region in REGIONS[1:])
        assert parts == pytest.approx(row["body"], abs=1e-4) or np.isnan(row["body"])
        assert 0.01 < row["body_area"] < 0.5
    integrated = table[table["method"] == "integrated_gradients"]
    assert (integrated["body"] > 0.99).all()  # the background is blank
    assert (integrated["completeness_gap"] < 0.5).all()


def test_metrics_are_the_means_of_the_table(explained):
    table = pd.read_csv(artifact(explained.info.run_id, "saliency.csv"))
    metrics = explained.data.metrics
    for (source, method), rows in table.groupby(["source", "method"]):
        for region in (*REGIONS, *(f"{region}_area" for region in REGIONS)):
            logged = metrics.get(f"saliency/{source}/{method}/{region}", np.nan)
            assert logged == pytest.approx(rows[region].mean(), nan_ok=True)
    assert all(np.isfinite(value) for value in metrics.values())


def test_the_sanity_check_is_a_curve_a_table_and_a_sentence(explained):
    table = pd.read_csv(artifact(explained.info.run_id, "sanity.csv"))
    assert len(table) == 7 * 4 and len(table["patient_id"].unique()) == 1
    name = "sanity/motion/integrated_gradients/spearman"
    history = MlflowClient().get_metric_history(explained.info.run_id, name)
    assert sorted(point.step for point in history) == [1, 2, 3, 4, 5, *WHOLLY_RANDOM]
    assert "random weights" in explained.data.tags["asd.sanity"]


def test_films_and_sheet_are_there_and_the_note_names_them(explained):
    run_id = explained.info.run_id
    table = pd.read_csv(artifact(run_id, "saliency.csv"))
    films = sorted(item.path for item in MlflowClient().list_artifacts(run_id, "films"))
    patients = table["patient_id"].drop_duplicates()
    assert films == [f"films/{k:02d}_{p}.mp4" for k, p in enumerate(patients, start=1)]
    with av.open(str(artifact(run_id, films[0]))) as container:
        assert len(list(container.decode(video=0))) == 16
    assert artifact(run_id, "figures/contact_sheet.png").stat().st_size > 10_000
    note = explained.data.tags["mlflow.note.content"]
    for part in ("figures/contact_sheet.png", "[tiny](#/experiments/", "| motion, Grad-CAM |"):
        assert part in note
    assert explained.data.tags["asd.sanity"] in note
    assert "With segmentation the networks are shown nothing but the body" in note


def test_chosen_patients_with_several_clips_from_a_store_that_has_moved(
    trial, tested, project_folder
):
    store, moved = project_folder / "store.zarr", project_folder / "moved.zarr"
    chosen = sorted(tested["patient_id"].unique())[:2][::-1]
    store.rename(moved)
    try:
        with pytest.raises(InputError, match=r"cannot be read.*it has moved, say where.*store="):
            explanation(trial)
        run_id = explanation(
            trial, patients=", ".join(chosen), store=str(moved), clips=2, run_name="chosen"
        )
    finally:
        moved.rename(store)
    table = pd.read_csv(artifact(run_id, "saliency.csv"))
    assert table["patient_id"].drop_duplicates().tolist() == chosen
    clips = table.drop_duplicates(["patient_id", "clip_start"])
    assert len(clips) == sum(min(2, (tested["patient_id"] == patient).sum()) for patient in chosen)
    assert MlflowClient().get_run(run_id).info.run_name == "chosen"


def test_one_network_of_both_streams_three_classes_and_no_segmentation(project_folder, make_store):
    store = make_store(12, classes=("ASD", "DHS", "LCS"))
    trial = train(small_training(store.url, fusion="early_concat", segmentation=False))
    run = MlflowClient().get_run(explanation(trial, count=1))
    table = pd.read_csv(artifact(run.info.run_id, "saliency.csv"))
    assert table[["source", "method"]].to_numpy().tolist() == [
        ["appearance", "integrated_gradients"],
        ["motion", "integrated_gradients"],
        ["joint", "grad_cam"],
    ]
    assert table["body"][0] < 0.99  # the background is shown
    assert "nothing but the body" not in run.data.tags["mlflow.note.content"]


def test_what_cannot_be_explained_is_refused_and_leaves_no_run(trial, small_store):
    client = MlflowClient()
    experiment = client.get_run(trial).info.experiment_id
    before = len(client.search_runs([experiment]))
    (fold, *_) = client.search_runs([experiment], "tags.`asd.level` = 'fold'")
    with pytest.raises(InputError, match=r"knows no run 'nothing'.*TRACKING_URI"):
        explanation("nothing")
    with pytest.raises(InputError, match=r"is no trial but a fold of the trial \w{32}"):
        explanation(fold.info.run_id)
    with pytest.raises(InputError, match=r"another clip store than .*digest must be .*, got "):
        explanation(trial, store=small_store.url)
    with pytest.raises(InputError, match=r"there is no clip store at 'nowhere\.zarr'"):
        explanation(trial, store="nowhere.zarr")
    with pytest.raises(InputError, match=r"unknown patient 'P00'.*did you mean 'P00\d'"):
        explanation(trial, patients="P00")
    with pytest.raises(InputError, match=r"count must be at most .*\(8\), got 9"):
        explanation(trial, count=9)
    assert len(client.search_runs([experiment])) == before


@pytest.mark.parametrize(
    ("tags", "rule"),
    [
        ({"asd.level": "sweep"}, "is no trial but a sweep; give one of its trials"),
        ({"asd.level": "explain"}, "is no trial but a run of explain"),
        ({}, "is no trial but a run of another program"),
        ({"asd.level": "trial"}, "is RUNNING, so its figures are partial"),
    ],
)
def test_a_run_that_is_no_finished_trial_is_told_so(trial, tags, rule):
    client = MlflowClient()
    run = client.create_run(client.get_run(trial).info.experiment_id, tags=tags)
    try:
        with pytest.raises(InputError, match=rule):
            explanation(run.info.run_id)
    finally:
        client.delete_run(run.info.run_id)


def test_networks_that_say_something_else_are_refused(trial, monkeypatch):
    """As those of another fold would; and half a percent is too much on one kind of device."""
    network = TwoStreamVideoModel.network

    def shifted(self, fold):
        other = deepcopy(network(self, fold))
        for classifier in (other.fusion.appearance, other.fusion.motion):
            classifier.bias.data[0] += 0.02
        return other

    monkeypatch.setattr(TwoStreamVideoModel, "network", shifted)
    with pytest.raises(
        InputError, match=r"probabilities within 0\.001, they differ by up to 0\.00"
    ):
        explanation(trial)


@pytest.mark.parametrize(
    ("error", "state"), [(RuntimeError("no luck"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_an_explanation_that_breaks_off_is_closed_in_its_state(trial, monkeypatch, error, state):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("asd_experiments.tracking.explanation_plan.explain_clip", fail)
    with pytest.raises(type(error)):
        explanation(trial, run_name=f"breaks {state}")
    (run,) = runs(f"breaks {state}")
    assert run.info.status == state
    assert mlflow.active_run() is None
