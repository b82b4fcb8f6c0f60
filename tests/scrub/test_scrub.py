"""The command `scrub`, on runs that name and show people, in a database and on a server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from asd_experiments.config import AblationConfig, EvaluateConfig, ScrubConfig
from asd_experiments.errors import InputError
from asd_experiments.pseudonyms import ID_COLUMNS, Pseudonyms, is_pseudonym, read_key
from asd_experiments.registry.records import CARD
from asd_experiments.reporting.selection import select
from asd_experiments.scrub.scrub import scrub
from asd_experiments.tracking.anonymity import ANONYMISED, in_order_of_names
from asd_experiments.tracking.artifacts import evaluated, log_table
from asd_experiments.tracking.evaluation import run_evaluate
from asd_experiments.tracking.finished_trial import FinishedTrial
from asd_experiments.tracking.runs import runs_below, use_tracking_store
from tests.search.services import MlflowServer
from tests.tracking.finished import finished_trial

PICTURES = {"films/01_p0.mp4", "overlays/row_0002.mp4", "report.html"}


def artifact(run_id: str, name: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name))


def files(run_id: str, folder: str | None = None) -> Iterator[str]:
    for item in MlflowClient().list_artifacts(run_id, folder):
        yield from files(run_id, item.path) if item.is_dir else [item.path]


def run_of(run_id: str) -> Run:
    return MlflowClient().get_run(run_id)


def carelessly_logged() -> str:
    """A trial as it was logged without pseudonyms, and all that can be in it by mistake."""
    client, run_id = MlflowClient(), finished_trial()
    predictions = pd.read_parquet(artifact(run_id, "predictions.parquet"))
    for name in PICTURES:
        client.log_text(run_id, "a face", name)
    client.log_image(run_id, np.zeros((8, 8, 3), np.uint8), key="figures/contact_sheet", step=0)
    client.log_image(run_id, np.zeros((8, 8, 3), np.uint8), key="figures/roc_clip", step=0)
    client.log_text(run_id, "a picture", "figures/contact_sheet.png")
    client.log_text(run_id, "a picture", "figures/roc_clip.png")
    columns = [*ID_COLUMNS, "label"]
    log_table(run_id, predictions[columns].head(3), "tables/worst_clips.csv")
    videos = pd.read_csv(artifact(run_id, "videos.csv"))
    telling = videos.assign(surname=[f"Mr. {number}" for number in range(len(videos))])
    log_table(run_id, telling, "videos.csv")
    subgroups = pd.DataFrame({"column": ["surname"], "level": ["Mr. 1"]})
    log_table(run_id, subgroups, "tables/subgroups.csv")
    client.log_text(run_id, "surname Mr. 1", "model_card.md")
    errors = pd.DataFrame({"trial": [0, 1], "error": ["", "ValueError: patient p0"]})
    log_table(run_id, errors, "trials.csv")
    client.log_text(run_id, "\x00\x01,", "tables/broken.parquet")
    client.log_param(run_id, "patients", "p0")
    client.set_tag(run_id, "remark", "what is wrong with p0?")
    client.set_tag(run_id, "asd.code", "p0")  # a word of ours, whoever has it for a name
    (fold, *_) = runs_below(run_of(run_id))
    log_table(fold.info.run_id, predictions, "predictions.parquet")
    client.log_text(fold.info.run_id, "ValueError: patient p0", "traceback.txt")
    client.set_tag(fold.info.run_id, "asd.error", "ValueError: patient p0")
    return run_id


def everything(run_id: str) -> dict[str, bytes]:
    runs = [run_of(run_id), *runs_below(run_of(run_id))]
    return {
        f"{run.info.run_id}/{name}": artifact(run.info.run_id, name).read_bytes()
        for run in runs
        for name in files(run.info.run_id)
    } | {f"{run.info.run_id} tags": str(sorted(run.data.tags.items())).encode() for run in runs}


def assert_scrubbed(run_id: str, predictions: pd.DataFrame, scrubbed_by: str) -> None:
    names = Pseudonyms(read_key(None), predictions["patient_id"], predictions["video"])
    left = set(files(run_id))
    assert not left & (PICTURES | {"figures/contact_sheet.png", "tables/broken.parquet"})
    assert not [name for name in left if "contact_sheet" in name]
    assert "figures/roc_clip.png" in left and [name for name in left if "~roc_clip" in name]
    for name in ("predictions.parquet", "folds.csv", "videos.csv", "tables/worst_clips.csv"):
        path = artifact(run_id, name)
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        for column in {*ID_COLUMNS} & {*table.columns}:
            assert table[column].map(is_pseudonym).all(), (name, column)
    assert "surname" not in pd.read_csv(artifact(run_id, "videos.csv")).columns
    assert not left & {"tables/subgroups.csv", "model_card.md"}
    assert pd.read_csv(artifact(run_id, "trials.csv"))["error"].tolist()[1:] == ["ValueError"]
    logged = pd.read_parquet(artifact(run_id, "predictions.parquet"))
    expected = in_order_of_names(names.table(predictions))
    pd.testing.assert_frame_equal(logged, expected, check_exact=True)
    (fold, *_) = [run for run in runs_below(run_of(run_id)) if "asd.error" in run.data.tags]
    assert fold.data.tags["asd.error"] == "ValueError"
    assert "traceback.txt" not in set(files(fold.info.run_id))
    own = pd.read_parquet(artifact(fold.info.run_id, "predictions.parquet"))
    pd.testing.assert_frame_equal(own, logged)
    tags = run_of(run_id).data.tags
    assert tags["asd.code"] == "p0"
    assert tags["remark"] == f"what is wrong with {names.patient('p0')}?"
    assert tags[ANONYMISED] == names.fingerprint
    (failure,) = json.loads(artifact(run_id, "store.json").read_text())["failures"]
    assert failure["patient_id"] == names.patient("x") and failure["reason"] == "no person found"
    table = pd.read_csv(artifact(scrubbed_by, "scrubbed.csv"))
    assert set(table["done"]) == {"removed", "pseudonyms", "kind alone", "cannot be changed"}
    own_run = str(run_of(scrubbed_by).to_dictionary()) + table.to_csv()
    assert run_of(scrubbed_by).data.tags["asd.scrubs"] == run_id
    assert not re.search(r"\bp\d+\b", own_run)


@pytest.fixture(scope="module")
def trial(project_folder) -> str:
    use_tracking_store()
    return carelessly_logged()


def test_without_yes_nothing_is_changed_and_all_is_listed(trial, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    before = everything(trial)
    count = len(MlflowClient().search_runs([run_of(trial).info.experiment_id]))
    assert scrub(ScrubConfig(run=trial)) is None
    said = capsys.readouterr().out
    assert said.startswith("This would be done:") and "Do it by yes=true" in said
    for line in (
        f"run {trial}: films/ (1 files) is removed",
        f"run {trial}: predictions.parquet gets pseudonyms in the place of ids",
        f"run {trial}: tables/broken.parquet is removed",
        f"run {trial}: parameter patients names somebody and cannot be changed",
        "traceback.txt is removed",
        "tag asd.error keeps the kind of an error",
    ):
        assert line in said, line
    assert not re.search(r"\bp\d+\b", said)
    assert everything(trial) == before and not list(tmp_path.iterdir())
    assert len(MlflowClient().search_runs([run_of(trial).info.experiment_id])) == count


@pytest.mark.slow
def test_what_is_scrubbed_is_judged_and_compared_as_before(project_folder, capsys):
    use_tracking_store()
    trial = carelessly_logged()
    predictions = pd.read_parquet(artifact(trial, "predictions.parquet"))
    other = finished_trial()
    scrubbed_by = scrub(ScrubConfig(run=trial, yes=True))
    assert scrubbed_by is not None
    assert_scrubbed(trial, predictions, scrubbed_by)
    (place,) = re.findall(r"^Who is who: (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert set(predictions["patient_id"]) <= set(pd.read_csv(place)["id"])
    with pytest.raises(InputError, match="name patients differently"):
        select(AblationConfig(runs=f"{trial},{other}"))
    scrub(ScrubConfig(run=other, yes=True))
    assert len(select(AblationConfig(runs=f"{trial},{other}")).trials) == 2
    run_evaluate(EvaluateConfig(run=trial))
    assert "test/patient/auroc" in run_of(trial).data.metrics
    assert FinishedTrial.read(trial).videos is not None
    capsys.readouterr()
    before = everything(trial)
    assert scrub(ScrubConfig(run=trial, yes=True)) is None
    assert "nothing to scrub" in capsys.readouterr().out and everything(trial) == before


@pytest.mark.slow
def test_a_scrub_that_breaks_off_goes_on(project_folder, monkeypatch):
    use_tracking_store()
    run_id = carelessly_logged()
    predictions = pd.read_parquet(artifact(run_id, "predictions.parquet"))
    done = []

    def breaks(*arguments: object) -> None:
        if len(done) == 8:
            raise RuntimeError("the server is gone")
        done.append(arguments)
        do(*arguments)

    from asd_experiments.scrub.scrub import _do as do

    monkeypatch.setattr("asd_experiments.scrub.scrub._do", breaks)
    with pytest.raises(RuntimeError, match="the server is gone"):
        scrub(ScrubConfig(run=run_id, yes=True))
    monkeypatch.undo()
    use_tracking_store()
    scrub(ScrubConfig(run=run_id, yes=True))
    names = Pseudonyms(read_key(None), predictions["patient_id"], predictions["video"])
    for run in (run_of(run_id), *runs_below(run_of(run_id))):
        for name in {"predictions.parquet"} & set(files(run.info.run_id)):
            logged = pd.read_parquet(artifact(run.info.run_id, name))
            pd.testing.assert_frame_equal(logged, in_order_of_names(names.table(predictions)))
        assert ":" not in run.data.tags.get("asd.error", "")
        assert "traceback.txt" not in set(files(run.info.run_id))
    assert names.patient("p0") in run_of(run_id).data.tags["remark"]


@pytest.mark.slow
def test_a_server_that_keeps_the_artifacts_is_scrubbed(tmp_path, monkeypatch):
    server = MlflowServer(f"sqlite:///{tmp_path / 'server.db'}", tmp_path)
    before = mlflow.get_tracking_uri()
    try:
        monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        mlflow.set_tracking_uri(server.uri)
        run_id = carelessly_logged()
        assert run_of(run_id).info.artifact_uri.startswith("mlflow-artifacts:")
        predictions = pd.read_parquet(artifact(run_id, "predictions.parquet"))
        scrubbed_by = scrub(ScrubConfig(run=run_id, yes=True))
        assert_scrubbed(run_id, predictions, str(scrubbed_by))
        kept = [path.name for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
        assert "predictions.parquet" in kept and not {"01_p0.mp4", "traceback.txt"} & {*kept}
    finally:
        mlflow.set_tracking_uri(before)
        server.stop()


def test_what_cannot_be_scrubbed_is_refused(project_folder, tmp_path):
    use_tracking_store()
    client = MlflowClient()
    with pytest.raises(InputError, match=r"run: .* knows no run 'nothing'"):
        scrub(ScrubConfig(run="nothing"))
    run_id = client.create_run("0").info.run_id
    with pytest.raises(InputError, match=r"run: \w+ is RUNNING; scrub it when it has ended"):
        scrub(ScrubConfig(run=run_id))
    log_table(run_id, pd.DataFrame({"patient_id": ["P01"]}), "a.csv")
    client.set_tag(run_id, ANONYMISED, "a1b2")
    client.set_terminated(run_id)
    with pytest.raises(InputError, match=r"pseudonym_key: .*of the key a1b2, got the key"):
        scrub(ScrubConfig(run=run_id, yes=True))
    assert pd.read_csv(artifact(run_id, "a.csv"))["patient_id"].tolist() == ["P01"]


@pytest.mark.slow
def test_the_card_of_a_registered_version_is_written_anew(project_folder, monkeypatch):
    use_tracking_store()
    client, run_id = MlflowClient(), carelessly_logged()
    source = f"runs:/{run_id}/model"
    client.create_registered_model("scrubbed")
    version = client.create_model_version("scrubbed", source, run_id)
    told = "Ask Anna of p0.\n\nTest AUROC 0.800 · [Model card](x) · surname Mr. 1"
    client.update_model_version("scrubbed", version.version, told)
    client.set_model_version_tag("scrubbed", version.version, CARD, "somewhere")

    def breaks(*_: object) -> None:
        raise RuntimeError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr("asd_experiments.scrub.scrub.describe", breaks)
        with pytest.raises(RuntimeError, match="the server is gone"):
            scrub(ScrubConfig(run=run_id, yes=True))
    assert "model_card.md" not in set(files(run_id))
    assert scrub(ScrubConfig(run=run_id, yes=True)) is not None
    description = client.get_model_version("scrubbed", version.version).description
    names = Pseudonyms(read_key(None))
    assert description.startswith(f"Ask Anna of {names.patient('p0')}.\n\n")
    assert "Intended use" in description
    card = artifact(run_id, "model_card.md").read_text()
    assert "Model card: scrubbed version 1" in card
    assert "Mr. 1" not in description + card


def test_rows_of_an_external_validation_name_nobody(project_folder, capsys):
    use_tracking_store()
    client = MlflowClient()
    run_id = client.create_run("0").info.run_id
    by_row = {"video": ["row 2"], "patient_id": ["patient of row 2"], "group": ["patient of row 2"]}
    log_table(run_id, pd.DataFrame(by_row), "predictions.parquet")
    client.set_terminated(run_id)
    assert scrub(ScrubConfig(run=run_id, yes=True)) is None
    assert "there is nothing to scrub" in capsys.readouterr().out


def test_a_clean_run_is_told_to_be_clean(project_folder, capsys):
    use_tracking_store()
    client = MlflowClient()
    run_id = client.create_run("0").info.run_id
    client.set_terminated(run_id)
    assert scrub(ScrubConfig(run=run_id, yes=True)) is None
    assert "there is nothing to scrub" in capsys.readouterr().out


def test_every_picture_of_an_explanation_is_found(project_folder):
    """Under the names that it gives them."""
    use_tracking_store()
    client = MlflowClient()
    run_id = client.create_run("0").info.run_id
    from matplotlib.figure import Figure

    with evaluated(run_id) as results:
        results.add_figure("contact_sheet", Figure())
    assert len(list(files(run_id))) == 3  # the picture, and a chart in two sizes
    client.set_terminated(run_id)
    assert scrub(ScrubConfig(run=run_id, yes=True)) is not None
    assert list(files(run_id)) == []
