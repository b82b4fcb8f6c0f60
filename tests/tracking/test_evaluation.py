"""The command `evaluate`, on runs whose predictions are drawn at random."""

from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.config import EvaluateConfig
from asd_experiments.errors import InputError
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.metrics import evaluate
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.evaluation import run_evaluate
from asd_experiments.tracking.runs import command_run, use_tracking_store
from tests.evaluation.builders import CLASSES, THREE, random_table
from tests.tracking.finished import finished_trial, labels_of

UNITS = ("patient", "video", "clip")
OF_A_UNIT = (
    *("confusion_matrix", "confusion_matrix_by_fold", "roc", "precision_recall"),
    "calibration",
)
OF_THE_TRIAL = ("decision_curve_patient", "subgroups", "participant_flow", "learning_curves")
FIGURES = {*(f"{name}_{unit}" for name in OF_A_UNIT for unit in UNITS), *OF_THE_TRIAL}


@pytest.fixture(scope="module")
def trial(project_folder) -> str:
    use_tracking_store()
    return finished_trial()


@pytest.fixture(scope="module")
def own_run(trial) -> str:
    return run_evaluate(EvaluateConfig(run=trial))


def artifact(run_id: str, path: str) -> Path:
    return Path(MlflowClient().download_artifacts(run_id, path))


def files(run_id: str, folder: str) -> set[str]:
    return {Path(item.path).name for item in MlflowClient().list_artifacts(run_id, folder)}


def test_metrics_are_those_of_the_prediction_table(trial, own_run):
    table = pd.read_parquet(artifact(trial, "predictions.parquet"))
    expected = evaluate(Predictions(table, CLASSES, "ASD"))
    run = MlflowClient().get_run(trial)
    assert run.data.metrics == pytest.approx(expected)
    assert (
        f"| patient | {expected['test/patient/auroc']:.3f} ["
        in run.data.tags["mlflow.note.content"]
    )
    assert run.info.status == "FINISHED"


def test_every_figure_is_a_chart_and_a_picture(trial, own_run):
    assert files(trial, "figures") == {f"{name}.png" for name in FIGURES}
    charts = files(trial, "images")
    assert {name.partition("+")[0] for name in charts} == {f"figures~{n}" for n in FIGURES}


def test_every_figure_has_its_numbers_as_a_table(trial, own_run):
    tables = files(trial, "tables")
    assert {f"{name}.csv" for name in FIGURES} <= tables
    assert {"misclassified_patients.csv", "worst_clips.csv", "roc_band_patient.csv"} <= tables
    flow = pd.read_csv(artifact(trial, "tables/participant_flow.csv"))
    excluded = flow[flow["stage"] == "excluded"].to_dict("records")
    assert [(row["reason"], row["patients"]) for row in excluded] == [("no person found", 1)]
    subgroups = pd.read_csv(artifact(trial, "tables/subgroups.csv"))
    assert set(subgroups["column"].dropna()) == {"disease", "view", "age"}
    learning = pd.read_csv(artifact(trial, "tables/learning_curves.csv"))
    assert len(learning) == 15 and learning.loc[learning["is_best"], "epoch"].eq(2).all()
    by_fold = pd.read_csv(artifact(trial, "tables/confusion_matrix_by_fold_clip.csv"))
    pooled = pd.read_csv(artifact(trial, "tables/confusion_matrix_clip.csv"))
    cells = ["true", "predicted"]
    assert (
        by_fold.groupby(cells)["count"].sum().to_dict()
        == pooled.set_index(cells)["count"].to_dict()
    )


@pytest.mark.slow
def test_evaluating_again_replaces_and_adds_nothing(trial, own_run):
    client = MlflowClient()
    before = {folder: files(trial, folder) for folder in ("images", "figures", "tables", "")}
    texts = {name: artifact(trial, f"tables/{name}").read_bytes() for name in before["tables"]}
    pictures = {name: artifact(trial, f"figures/{name}").read_bytes() for name in before["figures"]}
    metrics = client.get_run(trial).data.metrics
    run_evaluate(EvaluateConfig(run=trial))
    assert {folder: files(trial, folder) for folder in before} == before
    assert {name: artifact(trial, f"tables/{name}").read_bytes() for name in texts} == texts
    assert {n: artifact(trial, f"figures/{n}").read_bytes() for n in pictures} == pictures
    assert client.get_run(trial).data.metrics == metrics
    assert len(client.get_metric_history(trial, "test/patient/auroc")) == 1


@pytest.mark.slow
def test_what_has_changed_is_overwritten(project_folder):
    use_tracking_store()
    run_id = finished_trial()
    run_evaluate(EvaluateConfig(run=run_id))
    charts = files(run_id, "images")
    (chart,) = (n for n in charts if n.startswith("figures~roc_clip+") and n.endswith(".png"))
    picture = artifact(run_id, f"images/{chart}").read_bytes()
    before = MlflowClient().get_run(run_id).data.metrics["test/clip/auroc"]
    log_table(run_id, random_table(CLASSES, 20, 0.3, seed=1), "predictions.parquet")
    run_evaluate(EvaluateConfig(run=run_id))
    assert files(run_id, "images") == charts
    assert artifact(run_id, f"images/{chart}").read_bytes() != picture
    assert MlflowClient().get_run(run_id).data.metrics["test/clip/auroc"] < before


def test_its_own_run_leads_to_the_trial(trial, own_run):
    run = MlflowClient().get_run(own_run)
    assert own_run != trial and run.info.status == "FINISHED"
    assert run.data.tags["asd.level"] == "evaluation" and run.data.tags["asd.evaluates"] == trial
    assert f"/runs/{trial})" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics == {} and run.data.params == {"run": trial}
    assert files(own_run, "") == set()


@pytest.mark.slow
def test_under_mlflow_run_its_own_run_is_that_one(trial, own_run, monkeypatch):
    opened = MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    assert run_evaluate(EvaluateConfig(run=trial)) == opened
    run = MlflowClient().get_run(opened)
    assert run.info.status == "FINISHED" and run.data.tags["asd.evaluates"] == trial
    assert MlflowClient().get_run(trial).info.status == "FINISHED"


@pytest.mark.slow
def test_three_classes(project_folder):
    use_tracking_store()
    run_id = finished_trial(THREE, 30)
    run_evaluate(EvaluateConfig(run=run_id))
    assert {name.partition(".")[0] for name in files(run_id, "figures")} == FIGURES


@pytest.mark.slow
def test_an_older_run_has_its_videos_read_from_its_store(project_folder, small_store, make_store):
    use_tracking_store()
    videos = small_store.videos
    table = random_table(["ASD", "non_ASD"], 12, 1.0)
    names = {f"p{number}": f"P{number:02d}" for number in range(12)}
    table["patient_id"] = table["patient_id"].map(names)
    table["video"] = table["patient_id"].map(
        dict(zip(videos["patient_id"], videos["video"], strict=True))
    )
    table["group"] = table["patient_id"]
    run_id = finished_trial(
        ["ASD", "non_ASD"], table=table, with_videos=False, store=small_store.url
    )
    client = MlflowClient()
    from asd_experiments.tracking.dataset import dataset_input

    client.log_inputs(run_id, [dataset_input(small_store, "training")])
    run_evaluate(EvaluateConfig(run=run_id))
    logged = pd.read_csv(artifact(run_id, "videos.csv"))
    assert logged.columns.tolist() == ["video", "patient_id", "label", "site"]
    subgroups = pd.read_csv(artifact(run_id, "tables/subgroups.csv"))
    assert set(subgroups["column"].dropna()) == {"site"}


@pytest.mark.slow
def test_an_older_run_without_its_store_has_no_subgroups_and_says_so(project_folder, capsys):
    use_tracking_store()
    run_id = finished_trial(with_videos=False)
    run_evaluate(EvaluateConfig(run=run_id))
    said = capsys.readouterr().out
    assert "No subgroups: the run has no videos.csv, and its store cannot be read" in said
    assert "subgroups.csv" not in files(run_id, "tables")
    assert "roc_patient.png" in files(run_id, "figures")


def test_a_store_that_has_changed_since_is_not_read(project_folder, small_store, capsys):
    use_tracking_store()
    run_id = finished_trial(with_videos=False, store=small_store.url)
    run_evaluate(EvaluateConfig(run=run_id))
    assert "has changed since" in capsys.readouterr().out
    assert "videos.csv" not in files(run_id, "")


def test_labels_that_look_like_numbers_stay_texts(project_folder):
    from asd_experiments.tracking.finished_trial import FinishedTrial

    use_tracking_store()
    table = random_table(CLASSES, 20, 1.0)
    table["patient_id"] = "00" + table["patient_id"].str[1:]
    table["group"] = table["patient_id"]
    run_id = finished_trial(table=table)
    videos = FinishedTrial.read(run_id).videos
    assert set(videos["patient_id"]) == set(table["patient_id"])
    assert videos["view"].isna().any() and videos["age"].dtype == float
    assert labels_of(table)["age"].tolist() == videos["age"].tolist()


def test_the_checklist_says_what_is_filled_and_where(trial, own_run):
    text = artifact(trial, "checklist.md").read_text()
    rows = {
        line.split(" | ")[0].lstrip("| "): line for line in text.splitlines() if line[2:3].isdigit()
    }
    assert list(rows) == [str(number) for number in range(1, 23)]
    assert (
        "| yes | file `tables/participant_flow.csv`, `figures/participant_flow.png` |" in rows["1"]
    )
    assert "| no | " in rows["15"] and "needs two trials" in rows["15"]
    assert "| yes |" in rows["21"] and "| yes |" in rows["22"]
    assert "missing: `group_by`" in rows["3"] and "| in part |" in rows["3"]


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("sweep", "is no trial but a sweep; give one of its trials"),
        ("fold", "is no trial but a fold"),
        (None, "is no trial but a run of another program"),
    ],
)
def test_a_run_that_is_no_trial_is_refused(project_folder, level, message):
    use_tracking_store()
    with command_run(None, "something else") as run_id:
        if level:
            MlflowClient().set_tag(run_id, "asd.level", level)
    with pytest.raises(InputError, match=message):
        run_evaluate(EvaluateConfig(run=run_id))


def test_an_unknown_run_is_refused(project_folder):
    use_tracking_store()
    with pytest.raises(InputError, match=r"knows no run 'nothing'.*MLFLOW_TRACKING_URI"):
        run_evaluate(EvaluateConfig(run="nothing"))


def test_a_trial_without_predictions_is_refused(project_folder):
    use_tracking_store()
    with command_run(None, "a trial that lost them") as run_id:
        MlflowClient().set_tag(run_id, "asd.level", "trial")
        MlflowClient().log_param(run_id, "positive_class", "ASD")
    with pytest.raises(InputError, match=r"has no predictions\.parquet; .* train it anew"):
        run_evaluate(EvaluateConfig(run=run_id))
