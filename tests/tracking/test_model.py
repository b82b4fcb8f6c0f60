"""From video files through training to the logged model in a fresh process, and back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.config import PreprocessConfig, SimulateConfig
from asd_experiments.normalisation import Normalisation
from asd_experiments.simulation.cohort import simulate
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
result["mean"] = model.predict(frame.iloc[-4:]).to_dict("list")
print(json.dumps(result))
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
        run_id = train(small_training(store, size=48, clip_length=16))
    client = MlflowClient()
    table = pd.read_parquet(client.download_artifacts(run_id, "predictions.parquet"))
    (output,) = client.get_run(run_id).outputs.model_outputs
    return f"models:/{output.model_id}", folder, table[table["split"] == "test"]


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


def test_the_model_gives_what_the_pipeline_gave(trained, predicted):
    """A test video's out-of-fold probability, from the file alone."""
    _, _, test = trained
    names, tables = predicted
    pipeline = test.groupby("video")[["probability_ASD", "fold"]].mean()
    for index, name in enumerate(names):
        fold = str(int(pipeline.loc[name, "fold"]))
        ours = tables[fold].loc[index, "probability_ASD"]
        assert ours == pytest.approx(pipeline.loc[name, "probability_ASD"], abs=1e-6)
        assert tables[fold].loc[index, "num_clips"] == (test["video"] == name).sum()


def test_the_mean_over_the_folds_is_the_default(predicted):
    _, tables = predicted
    both = (tables["0"]["probability_ASD"] + tables["1"]["probability_ASD"]) / 2
    assert tables["mean"]["probability_ASD"][:2].tolist() == pytest.approx(both[-4:-2].tolist())
    assert set(tables["mean"]["decision"][:2]) <= {"ASD", "non_ASD"}
    assert (tables["mean"]["person_share"][:2] > 0.3).all()


def test_what_is_no_video_is_named_and_the_others_are_classified(predicted):
    _, tables = predicted
    *good, text, missing = tables["mean"]["problem"]
    assert good == ["", ""]
    assert "cannot be" in text or "decode" in text or "Invalid" in text
    assert missing == "there is no such file"
    assert tables["mean"]["decision"].isna().tolist() == [False, False, True, True]


def test_the_model_holds_no_pickle(trained):
    uri, _, _ = trained
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    endings = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert ".safetensors" in endings
    assert not endings & {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".bin"}


def test_a_fold_that_is_not_there_is_refused(trained):
    uri, folder, test = trained
    model = mlflow.pyfunc.load_model(uri)
    frame = pd.DataFrame({"video": [str(folder / test["video"].iloc[0])]})
    with pytest.raises(ValueError, match="fold must be 0 to 1, or -1 for all, got 7"):
        model.predict(frame, params={"fold": 7})
