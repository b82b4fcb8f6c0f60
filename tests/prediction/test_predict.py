"""The command `predict` on a folder of videos without labels."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.config import PredictConfig
from asd_experiments.errors import InputError
from asd_experiments.prediction.kept import kept_folder
from asd_experiments.prediction.predict import predict
from asd_experiments.prediction.worker import Worker
from asd_experiments.tracking.runs import MODEL, command_run

NAMES = ["deep/walk2.MP4", "walk0.mp4", "walk1.mp4"]


@pytest.fixture
def config(trial, make_video, tmp_path) -> PredictConfig:
    folder = tmp_path / "videos"
    for number, name in enumerate(NAMES):
        make_video(folder / name, number)
    (folder / "notes.txt").write_text("no video")
    (folder / "._walk0.mp4").write_text("what another system leaves")
    return PredictConfig(
        model="models:/asd-two-stream@champion",
        videos=str(folder),
        out=str(tmp_path / "results" / "predictions.parquet"),
        workers=1,
    )


def metrics_of(run_id: str) -> dict[str, float]:
    return MlflowClient().get_run(run_id).data.metrics


@pytest.mark.slow
def test_every_video_below_the_folder_is_answered_as_the_model_answers(config, trial, capsys):
    run_id = predict(config)
    table = pd.read_parquet(config.out)
    assert table["video"].tolist() == NAMES
    assert not [name for name in table.columns if name.startswith("patient")]
    assert (table["problem"] == "").all() and not table["trained_on"].any()
    frame = pd.DataFrame({"video": [str(Path(config.videos) / name) for name in NAMES]})
    expected = mlflow.pyfunc.load_model(config.model).predict(frame)
    for column in ("probability_ASD", "threshold", "num_clips", "person_share"):
        assert table[column].tolist() == pytest.approx(expected[column].tolist(), abs=1e-5)
    assert table["decision"].tolist() == expected["decision"].tolist()
    assert json.loads(table["versions"][0])["model"]["run_id"] == trial
    assert not kept_folder(Path(config.out)).exists()
    run = MlflowClient().get_run(run_id)
    assert run.data.tags["asd.level"] == "prediction" and run.info.status == "FINISHED"
    assert run.data.params["model_version"] == "1" and run.data.params["trial"] == trial
    assert (run.data.metrics["num_videos"], run.data.metrics["num_failed"]) == (3, 0)
    (answered_by,) = run.inputs.model_inputs
    logged_as = MlflowClient().get_run(trial).data.tags[MODEL]
    assert logged_as == f"models:/{answered_by.model_id}"
    logged = json.dumps([run.data.params, run.data.tags])
    assert "walk" not in logged and str(config.videos) not in logged
    capsys.readouterr()
    assert predict(config) is None
    assert capsys.readouterr().out == f"All answers are in {config.out} already.\n"
    with pytest.raises(InputError, match=r"predictions\.parquet' is not what an unfinished"):
        predict(replace(config, clip_stride=4))


@pytest.mark.slow
def test_a_bad_video_costs_no_other_and_only_it_is_tried_again(config, capsys, make_video):
    config = replace(config, out=config.out.replace(".parquet", ".csv"))
    bad = Path(config.videos) / "bad.mp4"
    bad.write_bytes(b"\0" * 100)
    with pytest.raises(SystemExit, match=r"1 of 4 videos could not be classified \(row 2\)"):
        predict(config)
    printed = capsys.readouterr()
    assert "row 2 cannot be classified: it" in printed.err + printed.out
    assert "it begins with zeros, as incomplete copies do" in printed.err + printed.out
    assert "bad.mp4" not in printed.err + printed.out
    before = pd.read_csv(config.out)
    assert before["problem"].notna().tolist() == [True, False, False, False]
    assert before["probability_ASD"].notna().tolist() == [False, True, True, True]
    make_video(bad, 7)
    run_id = predict(config)
    assert metrics_of(run_id)["num_new"] == 1
    after = pd.read_csv(config.out)
    assert after["probability_ASD"].notna().all()
    columns = ["video", "probability_ASD", "source_sha256"]
    pd.testing.assert_frame_equal(after[columns][1:], before[columns][1:])
    assert not kept_folder(Path(config.out)).exists()


@pytest.mark.slow
def test_what_breaks_off_goes_on(config, monkeypatch):
    """The copy of a video is not classified by itself; another model's answers are not taken."""
    copy = Path(config.videos) / "copy.mp4"
    copy.write_bytes((Path(config.videos) / "walk1.mp4").read_bytes())
    classify, seen = Worker.__call__, []

    def break_off(self, video):
        if len(seen) == 2:
            raise RuntimeError("a crash")
        seen.append(video)
        return classify(self, video)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "__call__", break_off)
        with pytest.raises(RuntimeError, match="a crash"):
            predict(config)
    assert not Path(config.out).exists()
    one = replace(config, fold=1, out=str(Path(config.out).with_name("one.parquet")))
    shutil.copytree(kept_folder(Path(config.out)), kept_folder(Path(one.out)))
    run_id = predict(config)
    assert seen == ["copy.mp4", "deep/walk2.MP4"] and metrics_of(run_id)["num_new"] == 1
    table = pd.read_parquet(config.out).set_index("video")
    assert table.loc["copy.mp4", "probability_ASD"] == table.loc["walk1.mp4", "probability_ASD"]
    assert metrics_of(predict(one))["num_new"] == 3


@pytest.fixture
def other_run(trial) -> str:
    with command_run("another", "") as run_id:
        pass
    return run_id


def test_a_model_that_is_not_there_is_told(config, other_run):
    for address, message in (
        ("models:/nobody@champion", r"model: 'models:/nobody@champion' cannot be had from sqlite"),
        ("models:/asd-two-stream@nobody", "cannot be had from .*; give models:/NAME@ALIAS"),
        ("nowhere", "model: 'nowhere' cannot be had from"),
        ("0" * 32, "model: .* knows no run '0000"),
        (other_run, "has logged no model; give the run of a finished training"),
    ):
        with pytest.raises(InputError, match=message):
            predict(replace(config, model=address))


def test_another_program_s_model_is_refused(config, tmp_path):
    model = mlflow.models.Model(flavors={"python_function": {"loader_module": "other"}})
    (tmp_path / "other").mkdir()
    model.save(tmp_path / "other" / "MLmodel")
    with pytest.raises(InputError, match="is no model of this project's; give one that train"):
        predict(replace(config, model=str(tmp_path / "other")))


def test_what_cannot_be_done_is_told_before_any_work(config, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    file = tmp_path / "file"
    file.write_text("something")
    mine = tmp_path / "mine.parquet"
    mine.write_text("something")
    (tmp_path / "folder.csv").mkdir()
    for changes, message in (
        ({"videos": str(folder)}, r"videos: there is no video file below .*\.mp4"),
        ({"videos": str(tmp_path / "gone")}, "videos: the folder .* does not exist"),
        ({"out": str(file / "a.csv")}, "out: the folder .* cannot be made"),
        ({"out": str(tmp_path / "folder.csv")}, "out: .* is no file; choose another name"),
        ({"out": str(mine)}, "out: .*mine.parquet' is not what an unfinished command has written"),
        ({"fold": 2}, "fold must be 0 to 1, or -1 for the mean over all, got 2"),
    ):
        with pytest.raises(InputError, match=message):
            predict(replace(config, **changes))
    assert mine.read_text() == "something"
    with pytest.raises(ValueError, match=r"out must end in \.parquet or \.csv, got 'a\.xlsx'"):
        replace(config, out="a.xlsx")
