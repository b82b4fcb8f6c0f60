"""One small cohort through the command: everything that must be in the tracking server."""

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.manifest import LabelsError
from asd_experiments.data.store import ClipStore
from asd_experiments.tracking.preprocessing import (
    NothingStoredError,
    _print_summary,
    _report_file,
    _what_next,
    run_preprocess,
)
from preprocess.cohort import Outcome
from tests.preprocess.films import film, walk, wall, write_video

NAMES = ("Mustermann", "Zorro", "Geheim", "first_walk", "second_walk", "nobody")


def cohort(folder: Path, walks: tuple[str, ...], empty: tuple[str, ...]) -> PreprocessConfig:
    """Videos and labels whose names must not come out; rows 2, 3, ... in the order given."""
    videos = folder / "Mustermann"
    videos.mkdir(parents=True)
    rows = []
    for number, name in enumerate([*empty, *walks]):
        masks = walk(96, 160, 40) if name in walks else [np.zeros((96, 160), np.uint8)] * 30
        write_video(videos / f"{name}.mp4", film(masks, wall(96, 160, seed=number)))
        row = {"video": f"Mustermann/{name}.mp4", "patient_id": f"Zorro{number}"}
        rows.append({**row, "label": ("ASD", "DHS")[number % 2], "doctor": "Dr. Geheim"})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return PreprocessConfig(
        videos=str(folder),
        labels=str(folder / "labels.csv"),
        store=str(folder.parent / f"{folder.name}.zarr"),
        size=64,
        overlays=True,
    )


def last_run() -> Run:
    experiment = mlflow.get_experiment_by_name("asd_experiments")
    return MlflowClient().search_runs([experiment.experiment_id], max_results=1)[0]


def artifacts(run: Run) -> Path:
    return Path(MlflowClient().download_artifacts(run.info.run_id, ""))


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PreprocessConfig:
    folder = tmp_path_factory.mktemp("cohort") / "videos"
    return cohort(folder, ("first_walk", "second_walk"), ("nobody",))


@pytest.fixture(scope="module")
def printed() -> list[str]:
    return []


@pytest.fixture(scope="module")
def done(project_folder, config, printed) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda text: printed.append(text))
        with pytest.raises(SystemExit) as caught:
            run_preprocess(config)
    printed.append(str(caught.value.code))  # a text: the exit status is 1
    return last_run()


def test_the_run_is_finished_although_a_video_failed(done, config, printed):
    assert done.info.status == "FINISHED" and done.data.tags["asd.level"] == "preprocess"
    assert done.info.run_name == "preprocess motion dis 64 px"
    text = "\n".join(printed)
    assert f"2 of 3 videos are in {config.store}: 2 new, 0 there already, 1 failed." in text
    assert f"runs/{done.info.run_id}" in text
    (report,) = re.findall(r"^Report:   (.*)$", text, re.MULTILINE)
    assert Path(report).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_last_words_say_what_to_do_about_a_failed_video(printed, done):
    assert printed[-1] == (
        "preprocess: 1 of 3 videos could not be stored (row 2); the report says why.\n"
        "The store is complete without it and can be trained on. "
        "To try again, mend the files, or make room where memory was short, and run the same "
        "command:\n"
        "what is stored is not done again. To do without, take the rows out of the labels file "
        "and run it again; the exit status is 0 then."
    )


def test_what_is_said_to_do_ends_with_exit_status_0(done, config, tmp_path):
    table = pd.read_csv(config.labels)
    table.iloc[1:].to_csv(tmp_path / "labels.csv", index=False)
    run_id = run_preprocess(replace(config, labels=str(tmp_path / "labels.csv"), overlays=False))
    again = MlflowClient().get_run(run_id)
    assert (again.data.metrics["num_new"], again.data.metrics["num_failed"]) == (0, 0)
    digests = [run.inputs.dataset_inputs[0].dataset.digest for run in (done, again)]
    assert digests[0] == digests[1]


def test_many_failed_rows_are_not_all_named():
    failures = [
        {"video": "v", "reason": "r", "row": str(row), "label": "A"} for row in range(2, 14)
    ]
    said = _what_next(Outcome(pd.DataFrame({"video": ["v"]}), failures, 1))
    assert said.startswith(
        "12 of 13 videos could not be stored (rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more);"
    )


@pytest.mark.parametrize("as_uri", [str, Path.as_uri])
def test_the_report_is_found_wherever_it_is_a_file(tmp_path, as_uri, monkeypatch):
    folder = tmp_path / "two words"
    folder.mkdir()
    (folder / "report.html").touch()
    info = SimpleNamespace(artifact_uri=as_uri(folder))
    monkeypatch.setattr(MlflowClient, "get_run", lambda *_: SimpleNamespace(info=info))
    assert _report_file("abc") == folder / "report.html"


@pytest.mark.parametrize("place", ["mlflow-artifacts:/1/abc/artifacts", "s3://bucket/1", "/gone"])
def test_where_the_report_is_no_file_here_the_run_is_named_alone(
    done, config, place, monkeypatch, capsys
):
    info = SimpleNamespace(artifact_uri=place, experiment_id="1")
    monkeypatch.setattr(MlflowClient, "get_run", lambda *_: SimpleNamespace(info=info))
    _print_summary("abc", config, Outcome(pd.DataFrame({"video": ["v"]}), [], 1))
    lines = capsys.readouterr().out.splitlines()
    assert "runs/abc" in "".join(lines) and not any("Report:" in line for line in lines)
    assert lines[-1] == "          report.html is among its artifacts"


def test_parameters_are_resolved_and_name_no_place_of_videos(done, config):
    params = done.data.params
    assert params.keys().isdisjoint({"videos", "labels"})
    assert (params["size"], params["overlays"], params["segment"]) == ("64", "true", "")
    assert (params["store"], params["flow_weights"]) == (Path(config.store).name, "")
    (dataset,) = done.inputs.dataset_inputs
    assert json.loads(dataset.dataset.source) == {
        "uri": config.store,
        "digest": dataset.dataset.digest,
    }
    assert done.data.tags["asd.data_digest"] == dataset.dataset.digest


def test_files_are_logged_by_their_names(project_folder, tmp_path, monkeypatch):
    config = cohort(tmp_path / "videos", ("first_walk",), ())
    folder = tmp_path / "Zorro"
    weights = {role: str(folder / f"{role}.pth") for role in ("people", "flow")}
    monkeypatch.setattr("preprocess.cohort.load_weights", lambda _: {})
    run_preprocess(
        replace(
            config,
            overlays=False,
            people_weights=weights["people"],
            people_config="COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml",
            flow_weights=weights["flow"],
        )
    )
    params = last_run().data.params
    assert (params["people_weights"], params["flow_weights"]) == ("people.pth", "flow.pth")
    assert params["people_config"] == "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"
    assert "Zorro" not in str(params)


def test_the_data_set_is_logged_with_the_digest_of_the_store(done, config):
    (dataset,) = done.inputs.dataset_inputs
    assert dataset.dataset.digest == ClipStore(config.store).digest
    assert dataset.tags[0].value == "preprocessing"
    origin = json.loads((artifacts(done) / "store.json").read_text())
    assert origin["recipe"] == config.recipe and "failures" not in origin


def test_metrics_count_what_became_of_the_videos(done):
    metrics = done.data.metrics
    counted = ("num_videos", "num_stored", "num_failed", "num_new", "num_patients")
    assert [metrics[name] for name in counted] == [3, 2, 1, 2, 2]
    assert metrics["videos_per_second"] == pytest.approx(2 / metrics["seconds"])
    assert metrics["median_person_share"] > 0.9
    flagged = pd.read_parquet(artifacts(done) / "quality.parquet")["severity"] > 0
    assert metrics["num_flagged"] == flagged.sum()


def test_figures_are_those_of_the_stored_videos(done, config):
    table = pd.read_parquet(artifacts(done) / "quality.parquet").set_index("row")
    store = ClipStore(config.store)
    assert sorted(table.index) == [3, 4]
    assert table.loc[[3, 4], "key"].tolist() == store.videos["key"].tolist()
    assert table.loc[[3, 4], "label"].tolist() == ["DHS", "ASD"]
    assert (table["num_frames"] > 20).all()


def test_report_note_and_films_are_there(done):
    folder = artifacts(done)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert re.search(r'<th scope="row">2</th><td class="text">ASD</td>.*no person found', page)
    assert "2 of 3 videos are stored" in done.data.tags["mlflow.note.content"]
    names = sorted(path.name for path in (folder / "overlays").iterdir())
    assert [re.sub(r"_[0-9a-f]{8}\.", "_KEY.", name) for name in names] == [
        "row_0003_KEY.mp4",
        "row_0004_KEY.mp4",
    ]


def test_no_name_gets_into_the_tracking_server(done, project_folder):
    """The database, every file, and every file's name."""
    files = [path for path in project_folder.rglob("*") if path.is_file()]
    assert {"mlflow.db", "report.html", "quality.parquet"} <= {path.name for path in files}
    table = pd.read_parquet(artifacts(done) / "quality.parquet").to_csv()
    contents = {str(path): path.read_bytes() for path in files} | {"table": table.encode()}
    for place, content in contents.items():
        for name in NAMES:
            assert name.encode() not in content and name not in place, (name, place)


def test_a_second_run_computes_nothing_anew(done, config):
    with pytest.raises(SystemExit, match=r"1 of 3 videos could not be stored \(row 2\)"):
        run_preprocess(replace(config, overlays=False))
    again = last_run()
    assert again.data.metrics["num_new"] == 0 and "videos_per_second" not in again.data.metrics
    assert again.inputs.dataset_inputs[0].dataset.digest == (
        done.inputs.dataset_inputs[0].dataset.digest
    )
    assert not (artifacts(again) / "overlays").exists()


def test_when_every_video_fails_the_report_says_why(project_folder, tmp_path):
    config = cohort(tmp_path / "videos", (), ("nobody", "nobody_else"))
    with pytest.raises(NothingStoredError, match="no video could be stored"):
        run_preprocess(config)
    run = last_run()
    assert run.info.status == "FAILED" and run.data.metrics["num_stored"] == 0
    assert "0 of 2 videos" in (artifacts(run) / "report.html").read_text()
    assert not run.inputs.dataset_inputs


def test_an_error_leaves_its_kind_but_no_name(project_folder, tmp_path):
    config = cohort(tmp_path / "videos", ("first_walk",), ())
    with pytest.raises(LabelsError, match="Mustermann"):
        run_preprocess(replace(config, labels=str(tmp_path / "Mustermann.csv")))
    run = last_run()
    assert run.info.status == "FAILED" and run.data.tags["asd.error"] == "LabelsError"
    trace = (artifacts(run) / "traceback.txt").read_text()
    assert "read_labels" in trace and "Mustermann" not in trace


def test_a_report_that_fails_costs_nothing_that_was_computed(project_folder, tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("asd_experiments.tracking.preprocessing.write_report", broken)
    config = cohort(tmp_path / "videos", ("first_walk",), ())
    with pytest.raises(RuntimeError, match="no ink"):
        run_preprocess(config)
    run = last_run()
    assert run.info.status == "FAILED" and run.data.metrics["num_stored"] == 1
    assert (artifacts(run) / "quality.parquet").is_file()
    assert len(ClipStore(config.store).videos) == 1


def test_when_stopped_the_run_is_killed_and_what_is_stored_stays(
    project_folder, tmp_path, monkeypatch
):
    from preprocess.pipeline import Preprocessor

    failure = Preprocessor.failure

    def stop_after_one(self: Preprocessor, *given: object, **named: object) -> str | None:
        result = failure(self, *given, **named)
        os.kill(os.getpid(), signal.SIGTERM)
        return result

    config = replace(cohort(tmp_path / "videos", ("first_walk", "second_walk"), ()), workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(Preprocessor, "failure", stop_after_one)
        with pytest.raises(SystemExit, match="closed as KILLED"):
            run_preprocess(config)
    assert last_run().info.status == "KILLED" and last_run().data.params["size"] == "64"
    run_id = run_preprocess(replace(config, overlays=False))
    metrics = MlflowClient().get_run(run_id).data.metrics
    assert (metrics["num_stored"], metrics["num_new"]) == (2, 1)


def test_under_mlflow_run_its_run_is_used(project_folder, config, monkeypatch):
    client = MlflowClient()
    run = client.create_run("0")
    typed = {"size": "'64'", "margin": "1.5e-1", "segment": "''", "store": "typed", "labels": "x"}
    for name, text in typed.items():
        client.log_param(run.info.run_id, name, text)
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    with pytest.raises(SystemExit, match=r"1 of 3 videos could not be stored \(row 2\)"):
        run_preprocess(replace(config, overlays=False))
    done = client.get_run(run.info.run_id)
    assert done.info.status == "FINISHED"
    assert done.data.params["resolved/margin"] == "0.15"
    resolved = {name for name in done.data.params if name.startswith("resolved/")}
    assert resolved == {"resolved/margin"}
