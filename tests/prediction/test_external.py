"""External validation: `predict` with labels."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from sklearn.metrics import roc_auc_score

from asd_experiments.config import PredictConfig
from asd_experiments.data.video_file import file_sha256
from asd_experiments.errors import InputError
from asd_experiments.prediction.external import compared
from asd_experiments.prediction.known import find_trial, refuse_known
from asd_experiments.prediction.predict import predict
from asd_experiments.pseudonyms import Pseudonyms, read_key
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.labels import labels_by_row
from asd_experiments.tracking.runs import command_run
from tests.tracking.untrained import SPEC, log_untrained

PATIENTS = {"A": "ASD", "B": "non_ASD", "C": "ASD", "D": "non_ASD"}


@pytest.fixture(scope="module")
def config(trial, make_video, project_folder) -> PredictConfig:
    folder, rows = project_folder / "external", []
    for number, (patient, label) in enumerate(PATIENTS.items()):
        for walk in range(2):
            name = f"{patient}_{walk}.mp4"
            make_video(folder / name, 10 * number + walk)
            side = ("left", "right")[walk]
            known = {"patient_id": patient, "label": label, "name": f"Mx {patient}mann"}
            rows.append({"video": name, **known, "view": side})
    (folder / "D_1.mp4").write_text("no video")
    pd.DataFrame(rows).to_csv(project_folder / "external.csv", index=False)
    return PredictConfig(
        model=trial,
        videos=str(folder),
        labels=str(project_folder / "external.csv"),
        out=str(project_folder / "external_out.csv"),
        workers=2,
    )


@pytest.fixture(scope="module")
def run(config, trial):
    with pytest.raises(SystemExit, match=r"1 of 8 videos could not be classified \(row 9\)"):
        predict(config)
    client = MlflowClient()
    experiment = client.get_run(trial).info.experiment_id
    (found,) = client.search_runs([experiment], "tags.`asd.level` = 'external'")
    return client.get_run(found.info.run_id)


def artifact(run, path: str) -> Path:
    return Path(MlflowClient().download_artifacts(run.info.run_id, path))


@pytest.mark.slow
def test_figures_are_those_of_the_answers_and_stand_apart_from_cross_validation(run, config):
    patients = pd.read_csv(config.out.replace(".csv", "_patients.csv"))
    assert patients["patient_id"].tolist() == list(PATIENTS)
    assert patients["num_videos"].tolist() == [2, 2, 2, 1]
    metrics = run.data.metrics
    truth = patients["label"] == "ASD"
    area = roc_auc_score(truth, patients["probability_ASD"])
    assert metrics["external/patient/auroc"] == pytest.approx(area)
    called = patients["probability_ASD"] >= patients["threshold"]
    assert (patients["decision"] == "ASD").tolist() == called.tolist()
    assert metrics["external/patient/sensitivity"] == pytest.approx(called[truth].mean())
    assert metrics["external/patient/specificity"] == pytest.approx(1 - called[~truth].mean())
    videos = pd.read_csv(config.out)
    right = (videos["decision"] == videos["label"])[:7].mean()
    assert metrics["external/video/accuracy"] == pytest.approx(right)
    judged = pd.read_csv(artifact(run, "tables/answers_patients.csv")).sort_values("patient_id")
    assert judged["patient_id"].tolist() == [f"patient of row {row}" for row in (2, 4, 6, 8)]
    expected = patients["probability_ASD"].tolist()
    assert judged["probability_ASD"].tolist() == pytest.approx(expected)
    assert {"external/patient/brier", "external/clip/auroc"} <= set(metrics)
    assert "external/patient/sensitivity_ci_low" in metrics
    assert not [name for name in metrics if name.startswith(("test/", "val/"))]


@pytest.mark.slow
def test_the_run_says_what_it_is_and_leads_to_model_and_trial(run, trial):
    tags = run.data.tags
    assert run.info.status == "FINISHED" and tags["asd.validates"] == trial
    note = tags["mlflow.note.content"]
    assert "External validation of" in note and f"/runs/{trial})" in note
    assert "the mean of 2 networks, on 4 of 4 patients (2 ASD, 2 non_ASD)" in note
    assert "| 0.900 [0.800, 0.950] |" in note
    back = MlflowClient().get_run(trial).data.tags["asd.externally_validated_by"]
    assert back == run.info.run_id
    assert run.inputs.model_inputs


@pytest.mark.slow
def test_the_whole_report_is_there_and_names_nobody(run):
    client, run_id = MlflowClient(), run.info.run_id
    names = {
        folder: {Path(item.path).stem for item in client.list_artifacts(run_id, folder)}
        for folder in ("figures", "tables")
    }
    kinds = ("roc", "precision_recall", "calibration", "confusion_matrix")
    of_units = {f"{kind}_{unit}" for kind in kinds for unit in ("patient", "video", "clip")}
    both = {*of_units, "decision_curve_patient", "subgroups", "participant_flow"}
    assert both <= names["figures"] and both <= names["tables"]
    assert {"misclassified_patients", "worst_clips", "answers_patients"} <= names["tables"]
    flow = pd.read_csv(artifact(run, "tables/participant_flow.csv"))
    assert flow["stage"].unique().tolist() == ["labels", "excluded", "stored"]
    (left_out,) = flow[flow["stage"] == "excluded"].to_dict("records")
    assert left_out["videos"] == 1 and left_out["patients"] == 0
    subgroups = pd.read_csv(artifact(run, "tables/subgroups.csv"))
    assert subgroups["level"].tolist() == ["all patients", "left", "right"]
    checklist = artifact(run, "checklist.md").read_text()
    assert "| external validation | CLAIM 32, TRIPOD | yes | tag `asd.validates`" in checklist
    assert "metric `external/patient/auroc`" in checklist and "test/patient" not in checklist
    table = pd.read_parquet(artifact(run, "predictions.parquet"))
    assert table["video"].iloc[0] == "row 2" and table["patient_id"].iloc[-1] == "patient of row 8"
    folder = Path(client.download_artifacts(run_id, ""))
    texts = [path.read_text() for path in folder.rglob("*") if path.suffix in (".csv", ".md")]
    told = json.dumps([run.data.tags, run.data.params, texts])
    assert len(texts) > 10
    assert not [name for name in ("_0.mp4", "external.csv", "mann") if name in told]


def test_what_the_model_was_trained_on_is_refused_by_row(config, trial, project_folder):
    labels = pd.read_csv(config.labels)
    labels.loc[labels["patient_id"] == "D", "patient_id"] = "T2"
    labels.to_csv(project_folder / "known.csv", index=False)
    seen = file_sha256(Path(config.videos) / "B_0.mp4")
    other = log_untrained(project_folder / "trained_on_it", training_videos=[seen])
    with pytest.raises(InputError) as caught:
        predict(replace(config, model=other, labels=str(project_folder / "known.csv"), out="n.csv"))
    assert str(caught.value).splitlines()[:5] == [
        "4 problems with what the model knows already:",
        "  row 4: the model was trained on this very video",
        "  row 5: the model was trained on another video of its patient (row 4)",
        "  row 8: the model was trained on a patient of this id",
        "  row 9: the model was trained on a patient of this id",
    ]
    assert "Leave these rows out of the labels" in str(caught.value)
    assert not Path("n.csv.parts").exists()


def test_patients_are_recognised_by_their_pseudonyms(trial, tmp_path):
    keys = [tmp_path / "key", tmp_path / "other"]
    for number, key in enumerate(keys):
        key.write_text(f"{number}" * 64)
    pseudonyms = Pseudonyms(read_key(str(keys[0])))
    client = MlflowClient()
    with command_run("a trial with pseudonyms", "") as run_id:
        manifest = pd.DataFrame({"fold": [0], "split": ["test"], "patient_id": ["A"]})
        log_table(run_id, pseudonyms.table(manifest), "folds.csv")
        client.set_tag(run_id, "asd.anonymised", pseudonyms.fingerprint)
    spec = replace(SPEC, run_id=run_id)
    found = find_trial(spec, {"A", "B"}, str(keys[0]))
    assert found.known == {"A"} and found.unchecked == ""
    with pytest.raises(InputError, match=r"has pseudonyms of the key .*; give the file of that"):
        find_trial(spec, {"A", "B"}, str(keys[1]))
    carried = {"training_patients": [pseudonyms.patient("A")], "anonymised": pseudonyms.fingerprint}
    elsewhere = find_trial(replace(SPEC, run_id="0" * 32, **carried), {"A", "B"}, str(keys[0]))
    assert elsewhere.run is None and elsewhere.known == {"A"} and elsewhere.unchecked == ""
    half_scrubbed = pd.DataFrame({**manifest, "patient_id": ["A"]})
    log_table(run_id, half_scrubbed, "folds.csv")
    assert find_trial(spec, {"A", "B"}, str(keys[0])).known == {"A"}
    gone = find_trial(replace(SPEC, run_id="0" * 32), {"A"}, None)
    assert gone.run is None and "not on this tracking server" in gone.unchecked


def test_without_the_key_it_is_said_that_patients_are_not_recognised(trial, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with command_run("a trial with pseudonyms", "") as run_id:
        manifest = pd.DataFrame({"fold": [0], "split": ["test"], "patient_id": ["p-0"]})
        log_table(run_id, manifest, "folds.csv")
        MlflowClient().set_tag(run_id, "asd.anonymised", "0123456789ab")
    found = find_trial(replace(SPEC, run_id=run_id), {"A"}, None)
    assert found.known == frozenset() and "of a key that is not here" in found.unchecked


def test_a_model_that_does_not_say_what_it_was_trained_on_is_refused():
    labels = pd.DataFrame({"video": ["a"], "patient_id": ["A"]})
    with pytest.raises(InputError, match="labels: the model does not say which videos"):
        refuse_known(labels, {"a": "0"}, replace(SPEC, training_videos=[]), frozenset())


def test_a_class_that_the_model_does_not_know_is_refused(config, project_folder):
    labels = pd.read_csv(config.labels).replace({"label": {"non_ASD": "DHS"}})
    labels.to_csv(project_folder / "other.csv", index=False)
    message = r"row 4: label 'DHS' is none of the model's classes(.|\n)*tells ASD and non_ASD apart"
    with pytest.raises(InputError, match=message):
        predict(replace(config, labels=str(project_folder / "other.csv")))
    with pytest.raises(InputError, match=r"the labels file 'gone\.csv' does not exist"):
        predict(replace(config, labels="gone.csv"))


def test_rows_take_the_place_of_names():
    labels = pd.DataFrame({"video": ["x", "y", "z"], "patient_id": ["Q", "P", "Q"]})
    named = labels_by_row(labels)
    assert named["video"].tolist() == ["row 2", "row 3", "row 4"]
    first, second = "patient of row 2", "patient of row 3"
    assert named["patient_id"].tolist() == [first, second, first]


def test_what_is_undefined_is_not_compared():
    table = compared({"external/patient/auroc": 0.5}, {})
    assert "| AUROC | 0.500 | not known |" in table and "| specificity | not known |" in table
