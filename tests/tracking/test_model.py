"""From video files through training to the logged model in a fresh process, and back."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from copy import copy
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from asd_experiments import __version__
from asd_experiments.config import PreprocessConfig, SimulateConfig
from asd_experiments.normalisation import Normalisation
from asd_experiments.simulation.cohort import simulate
from asd_experiments.tracking.answers import RequestedVideo
from asd_experiments.tracking.model import TwoStreamVideoModel, load_trial_model
from asd_experiments.tracking.model_spec import FINAL
from asd_experiments.tracking.trial import train
from preprocess.cohort import preprocess
from tests.tracking.conftest import small_training

pytestmark = pytest.mark.slow

NORMALISATION = Normalisation(mean=(0.3, 0.4, 0.5), std=(0.5, 0.1, 0.25))
"""Far from the default one: it must travel with the model."""

FRESH_PROCESS = """
import json, sys
import mlflow, pandas as pd
uri, videos = sys.argv[1], json.loads(sys.argv[2])
model = mlflow.pyfunc.load_model(uri)
frame = pd.DataFrame({"video": videos})
result = {fold: model.predict(frame, params={"fold": fold}).to_dict("list") for fold in (0, 1)}
last = frame.iloc[-4:].assign(patient_id=["P1", "P1", None, "P1"])
result["final"] = model.predict(last, params={"device": "cpu", "batch_size": 2}).to_dict("list")
print(json.dumps(result, allow_nan=False))
"""

ELSEWHERE = """
import importlib.util, json, sys
assert importlib.util.find_spec("asd_experiments") is None
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
frame = pd.DataFrame({"video": sys.argv[2:3], "patient_id": ["P1"]})
answer = model.predict(frame, params={"device": "cpu"})
import asd_experiments
places = [asd_experiments.__file__, mlflow.__file__]
print(json.dumps({**answer.to_dict("list"), "places": places}))
"""


@pytest.fixture(scope="module")
def trained(project_folder: Path):
    folder = project_folder / "cohort"
    labels = simulate(SimulateConfig(out=str(folder), patients=8, videos_per_patient=1, seconds=2))
    store = str(project_folder / "store.zarr")
    preprocess(PreprocessConfig(videos=str(folder), labels=str(labels), store=store, size=48))
    with pytest.MonkeyPatch.context() as patch:
        for place in ("training.fit", "tracking.trial_record"):
            patch.setattr(f"asd_experiments.{place}.normalisation_of", lambda _: NORMALISATION)
        settings = small_training(store, size=48, clip_length=16, epochs=2, final="refit")
        run_id = train(settings)
    client = MlflowClient()
    table = pd.read_parquet(client.download_artifacts(run_id, "predictions.parquet"))
    (output,) = client.get_run(run_id).outputs.model_outputs
    return f"models:/{output.model_id}", folder, table[table["split"] == "test"]


@pytest.fixture(scope="module")
def loaded(trained) -> TwoStreamVideoModel:
    return load_trial_model(trained[0])


@pytest.fixture(scope="module")
def predicted(trained, project_folder, tmp_path_factory):
    """Predictions for all videos, and for two that are none, by a process of its own."""
    uri, folder, test = trained
    text = project_folder / "text.mp4"
    text.write_text("no video")
    names = sorted(test["video"].unique())
    videos = [*(str(folder / name) for name in names), str(text), str(folder / "missing.mp4")]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, uri, json.dumps(videos)],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    return names, {key: pd.DataFrame(table) for key, table in result.items()}


def at_temperature(probability: float, temperature: float) -> float:
    odds = (probability / (1 - probability)) ** (1 / temperature)
    return odds / (1 + odds)


def test_the_model_gives_what_the_pipeline_gave(trained, loaded, predicted):
    """A test video's out-of-fold probability at its fold's temperature, from the file alone."""
    _, _, test = trained
    names, tables = predicted
    pipeline = test.groupby("video")[["probability_ASD", "fold"]].mean()
    for index, name in enumerate(names):
        fold = str(int(pipeline.loc[name, "fold"]))
        expected = at_temperature(
            pipeline.loc[name, "probability_ASD"], loaded.spec.temperatures[fold]
        )
        assert tables[fold].loc[index, "probability_ASD"] == pytest.approx(expected, abs=1e-6)
        assert tables[fold].loc[index, "num_clips"] == (test["video"] == name).sum()


def test_temperatures_and_thresholds_are_those_of_the_runs_of_the_folds(loaded):
    client = MlflowClient()
    run = client.get_run(loaded.spec.run_id)
    query = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    runs = {r.info.run_name: r.data for r in client.search_runs([run.info.experiment_id], query)}
    for fold in ("0", "1"):
        metrics = runs[f"fold {int(fold) + 1} of 2"].metrics
        assert loaded.spec.temperatures[fold] == metrics["temperature"]
        assert loaded.spec.thresholds[fold] == metrics["threshold"]
    assert loaded.spec.refit_epochs == int(runs["refit on all patients"].params["epochs"]) in (1, 2)
    assert runs["refit on all patients"].metrics["train/clip/loss"] > 0
    assert run.data.params["final"] == "refit"


def test_the_refitted_network_is_the_default_and_the_folds_stay(trained, loaded, predicted):
    _, folder, _ = trained
    names, tables = predicted
    video = folder / names[-1]
    refitted = loaded.clips_of(video).clips
    assert refitted["fold"].unique().tolist() == [FINAL]
    answer = loaded.answers([RequestedVideo("", result=loaded.clips_of(video))])
    assert answer["probability_ASD"].item() == pytest.approx(tables["final"]["probability_ASD"][1])
    ensemble = copy(loaded)
    ensemble.spec = replace(loaded.spec, final="ensemble")
    clips = ensemble.clips_of(video)
    assert clips.clips["fold"].unique().tolist() == [0, 1]
    answer = ensemble.answers([RequestedVideo("", result=clips)])
    both = (tables["0"]["probability_ASD"] + tables["1"]["probability_ASD"]) / 2
    assert answer["probability_ASD"].item() == pytest.approx(both[len(names) - 1])


def test_what_is_no_video_is_named_and_the_others_are_classified(predicted):
    _, tables = predicted
    final = tables["final"]
    *good, text, missing = final["problem"]
    assert good == ["", ""]
    assert "cannot be" in text or "decode" in text or "Invalid" in text
    assert missing == "there is no such file"
    assert final["decision"].isna().tolist() == [False, False, True, True]
    assert set(final["decision"][:2]) <= {"ASD", "non_ASD"}
    assert (final["person_share"][:2] > 0.3).all()
    # The patient is what the videos say together, also in the row of the one that is missing.
    assert final["patient_num_videos"].tolist() == [2, 2, 0, 2]
    assert final["patient_decision"].isna().tolist() == [False, False, True, False]
    clips = final["num_clips"]
    assert final["patient_num_clips"].tolist() == [clips[0] + clips[1]] * 2 + [0, clips.sum()]


def test_an_answer_says_what_it_rests_on(loaded, predicted):
    versions = json.loads(predicted[1]["final"]["versions"][0])
    assert versions["model"] == {
        "run_id": loaded.spec.run_id,
        "clip_store": loaded.spec.store_digest,
        "final": "refit",
        "networks": [FINAL],
    }
    for place in ("trained", "here"):
        assert versions[place]["torch"] == torch.__version__
        assert versions[place]["mlflow"] == mlflow.__version__ and versions[place]["pytorchvideo"]
        assert versions[place]["asd_experiments"] == __version__
        assert set(versions[place]["preprocessing"]) >= {"av", "opencv-python-headless"}


def test_the_model_carries_the_figures_of_its_trial_and_what_it_was_trained_on(trained, loaded):
    uri, folder, _ = trained
    metadata = Model.load(mlflow.artifacts.download_artifacts(uri)).metadata
    assert metadata["final"] == "refit"
    logged = MlflowClient().get_run(loaded.spec.run_id).data.metrics
    assert {"test/patient/auroc", "test/patient/auroc_ci_low"} <= set(metadata["cross_validated"])
    assert {"test/patient/sensitivity", "test/patient/specificity"} <= set(loaded.spec.figures)
    for name, value in metadata["cross_validated"].items():
        assert value == pytest.approx(logged[name]) and loaded.spec.figures[name] == value
    files = list((folder / "videos").glob("*.mp4"))
    assert len(files) == 8
    sums = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    assert loaded.spec.training_videos == sums


def test_a_longer_stride_gives_fewer_clips(trained, loaded):
    _, folder, test = trained
    video = folder / test["video"].iloc[0]
    usual = loaded.clips_of(video)
    fewer = loaded.clips_of(video, loaded.options({"clip_stride": 32}))
    assert (usual.num_clips, fewer.num_clips) == (3, 2)
    assert fewer.clips["clip_start"].tolist() == [0, 32]  # of 50 frames
    assert usual.clips.columns.tolist() == [
        "clip_start",
        "clip_start_seconds",
        "probability_ASD",
        "probability_non_ASD",
        "fold",
    ]


def test_what_is_wrong_with_a_video_is_told(trained, loaded):
    """A camera of twice the frame rate shows half the walk in a clip."""
    _, folder, test = trained
    video = folder / test["video"].iloc[0]
    before = loaded.clips_of(video).flags
    assert "frames per second" not in before
    other = copy(loaded)
    other.spec = replace(loaded.spec, frame_rate_hz=50.0)
    flags = other.clips_of(video).flags
    assert flags.startswith("do not trust: ")
    assert "25 frames per second, the cohort's median is 50" in flags


def test_the_model_holds_no_pickle(trained):
    uri, _, _ = trained
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    endings = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert ".safetensors" in endings
    assert not endings & {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".bin"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 7}, "fold must be 0 to 1, or -1 for the refitted network, got 7"),
        ({"batch_size": 0}, "batch_size: .*greater than or equal to 1, got 0"),
        ({"device": "cuda"}, "device=cuda, but PyTorch finds no GPU; choose auto or cpu"),
    ],
)
def test_a_parameter_that_is_wrong_is_a_wrong_request(trained, changes, message):
    if changes.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    uri, folder, test = trained
    model = mlflow.pyfunc.load_model(uri)
    frame = pd.DataFrame({"video": [str(folder / test["video"].iloc[0])]})
    with pytest.raises(MlflowException, match=message) as caught:
        model.predict(frame, params=changes)
    assert caught.value.get_http_status_code() == 400


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"film": ["a.mp4"]}, "must have a column 'video'"),
        ({"video": []}, "must have at least one row, got none"),
        (
            {"video": ["a.mp4", "b.mp4"]},
            "no video could be classified: row 1: there is no such file; row 2: there is no such",
        ),
    ],
)
def test_a_request_without_a_usable_video_is_a_wrong_request(loaded, frame, message):
    with pytest.raises(MlflowException, match=message) as caught:
        loaded.predict(pd.DataFrame(frame))
    assert caught.value.get_http_status_code() == 400


def in_(folder: Path, *command: str) -> str:
    """Run a command that finds nothing of this project; give back what it printed."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = {**kept, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_it_predicts_in_an_environment_of_its_own_requirements(
    trained, predicted, tmp_path, tmp_path_factory
):
    uri, folder, _ = trained
    names, tables = predicted
    uv = Path(sys.executable).with_name("uv")
    model = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "taken")))
    environment = tmp_path_factory.mktemp("environment") / "venv"
    python = str(environment / "bin" / "python")
    requirements = ("-r", str(model / "requirements.txt"))
    try:
        in_(tmp_path, str(uv), "venv", "--python", sys.executable, str(environment))
        in_(tmp_path, str(uv), "pip", "install", "--python", python, *requirements)
        printed = in_(tmp_path, python, "-c", ELSEWHERE, str(model), str(folder / names[-1]))
    finally:
        shutil.rmtree(environment, ignore_errors=True)
    told = json.loads(printed.splitlines()[-1])
    assert Path(told["places"][0]).is_relative_to(model)
    assert Path(told["places"][1]).is_relative_to(environment)
    expected = tables["final"]["probability_ASD"][1]
    assert told["probability_ASD"] == [pytest.approx(expected, abs=1e-6)]
