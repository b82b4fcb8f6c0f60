"""Trials whose patients and videos have pseudonyms: what is logged, and how it is used."""

import json
import re
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from asd_experiments.config import (
    AblationConfig,
    EvaluateConfig,
    ExplainConfig,
    TrainConfig,
    TrialConfig,
    close_defaults,
)
from asd_experiments.data.splits import assign_folds
from asd_experiments.data.store import ClipStore
from asd_experiments.demo import DEMO_DEFAULTS
from asd_experiments.errors import InputError
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.metrics import evaluate
from asd_experiments.pseudonyms import Pseudonyms, default_key_file, read_key
from asd_experiments.reporting.selection import select
from asd_experiments.tracking.anonymity import ANONYMISED, in_order_of_names, pseudonyms_of
from asd_experiments.tracking.anonymity import hidden as hide
from asd_experiments.tracking.evaluation import run_evaluate
from asd_experiments.tracking.explanation import explain
from asd_experiments.tracking.labels import hidden_labels, identifying_columns, metadata_columns
from asd_experiments.tracking.runs import child_run, command_run, use_tracking_store
from asd_experiments.tracking.trial import train
from tests.evaluation.builders import CLASSES, random_table
from tests.tracking.conftest import small_training
from tests.tracking.finished import finished_trial

DRAWN = re.compile(r"_ci_(low|high)$|_permutation_p$")
"""Figures of random draws, which patients enter in the order of their names."""

FAILURE = {"video": "Mustermann.mp4", "reason": "Mustermann.mp4: no person found", "row": "14"}


@pytest.fixture(scope="module")
def store(make_store) -> ClipStore:
    """A store with a column of names, one of ages, and a video that failed."""

    def metadata(patient: int) -> dict[str, object]:
        return {
            "name": f"Mr. Nobody {patient}",
            "age": 60.0 + patient // 2,
            "site": f"site {patient // 2}",
        }

    failure = {**FAILURE, "label": "ASD", "patient_id": "Mustermann"}
    return make_store(8, metadata=metadata, failures=[failure])


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def computed() -> list[pd.DataFrame]:
    """Every table that was given pseudonyms, as it was before."""
    return []


@pytest.fixture(scope="module")
def hidden(project_folder, store, said, computed) -> str:
    """As users train: nothing is said about pseudonyms."""
    from asd_experiments.tracking import trial, trial_record

    def recorded(table, pseudonyms):
        computed.append(table)
        return hide(table, pseudonyms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
        for module in (trial, trial_record):
            patch.setattr(module, "hidden", recorded)
        return train(small_training(store.url, group_by="site", anonymise=None))


@pytest.fixture(scope="module")
def names(hidden, store) -> Pseudonyms:
    return pseudonyms_of(store, read_key(None), "site")


def run_of(run_id: str) -> Run:
    return MlflowClient().get_run(run_id)


def artifacts(run_id: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=""))


def below(run_id: str) -> list[Run]:
    query = f"tags.`mlflow.parentRunId` = '{run_id}'"
    return MlflowClient().search_runs([run_of(run_id).info.experiment_id], query)


def read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(list(table.columns), ignore_index=True)


def test_the_simulated_cohort_alone_keeps_its_ids():
    assert TrialConfig().anonymise is True
    assert close_defaults(TrainConfig(), **DEMO_DEFAULTS).anonymise is False
    assert close_defaults(TrainConfig(anonymise="true"), **DEMO_DEFAULTS).anonymise is True


@pytest.mark.slow
def test_no_name_reaches_the_tracking_server(hidden, store):
    client = MlflowClient()
    runs = [run_of(hidden), *below(hidden)]
    texts = [str(run.to_dictionary()) for run in runs]
    files = [path for run in runs for path in artifacts(run.info.run_id).rglob("*")]
    tables = [path for path in files if path.suffix in (".csv", ".parquet")]
    assert {"predictions.parquet", "folds.csv", "videos.csv", "worst_clips.csv"} <= {
        path.name for path in tables
    }
    texts += [read(path).to_csv() for path in tables]
    texts += [path.read_text() for path in files if path.suffix in (".json", ".yaml", ".md")]
    model = Path(mlflow.artifacts.download_artifacts(run_of(hidden).data.tags["asd.model"]))
    texts += [path.read_text() for path in model.rglob("*.json")]
    (spec,) = model.rglob("two_stream.json")
    carried = json.loads(spec.read_text())
    assert len(carried["training_patients"]) == 8 and carried["anonymised"]  # one has no video
    texts.append(str(client.search_logged_models([run_of(hidden).info.experiment_id])))
    sites = {f"site {number}" for number in range(4)}
    ids = {*store.videos["patient_id"], *store.videos["video"], *sites, "Mustermann", "Nobody"}
    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in ids))
    found = {match for text in texts for match in pattern.findall(text)}
    assert not found and len(texts) > 20


@pytest.mark.slow
def test_the_key_is_told_by_its_fingerprint_and_is_nowhere(hidden, project_folder):
    key = read_key(None)
    assert run_of(hidden).data.tags[ANONYMISED] == Pseudonyms(key).fingerprint
    assert run_of(hidden).data.params["anonymise"] == "true"
    assert "pseudonym_key" not in run_of(hidden).data.params
    files = [path for path in project_folder.rglob("*") if path.is_file()]
    assert len(files) > 50
    for content in map(Path.read_bytes, files):
        assert key not in content and key.hex().encode() not in content


@pytest.mark.slow
def test_who_is_who_is_told_to_the_user_alone(hidden, said, names, store):
    (line,) = [line for line in said if "Who is who: " in line]
    table = pd.read_csv(line.partition("Who is who: ")[2], dtype=str).set_index("pseudonym")
    worst = read(artifacts(hidden) / "predictions.parquet").iloc[0]
    for column, kind in (("patient_id", "patient"), ("video", "video"), ("group", "group")):
        assert table.loc[worst[column], "kind"] == kind
    assert table.loc[worst["patient_id"], "id"] in set(store.videos["patient_id"])
    assert "Not logged, as they tell patients apart: columns name" in said
    assert not Path(default_key_file()).is_relative_to(Path.cwd())


@pytest.mark.slow
def test_the_folds_are_those_of_the_ids(hidden, computed, names, store):
    options = {"folds": 2, "inner_folds": 2, "group_by": "site", "seed": 0}
    expected = names.table(assign_folds(store.videos, **options))
    logged = read(artifacts(hidden) / "folds.csv")
    pd.testing.assert_frame_equal(in_order(logged), in_order(expected))
    assert logged["patient_id"].tolist() != expected["patient_id"].tolist()  # no order of ids


@pytest.mark.slow
def test_predictions_are_those_of_the_training_but_for_the_names(hidden, computed, names):
    logged = read(artifacts(hidden) / "predictions.parquet")
    (expected,) = [table for table in computed if len(table) == len(logged)]
    assert expected["patient_id"].str.fullmatch(r"P0\d").all() and len(expected) == 24
    expected = in_order_of_names(names.table(expected))
    pd.testing.assert_frame_equal(logged, expected, check_exact=True)
    for run in below(hidden):
        own = read(artifacts(run.info.run_id) / "predictions.parquet")
        fold = logged[logged["fold"] == int(run.data.params["fold"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, fold, check_exact=True)


@pytest.mark.slow
def test_labels_keep_what_tells_nobody_apart(hidden, names, store):
    logged, labels = read(artifacts(hidden) / "videos.csv"), store.videos
    assert logged.columns.tolist() == ["video", "patient_id", "label", "site", "age"]
    assert logged["patient_id"].is_monotonic_increasing  # the labels' order would tell who is who
    labels = labels.assign(video=labels["video"].map(names.video)).set_index("video")
    labels = labels.loc[logged["video"]]
    assert len(labels) == len(store.videos)
    assert logged["age"].tolist() == labels["age"].tolist()
    assert logged["site"].tolist() == labels["site"].map(names.group).tolist()


def test_figures_are_the_same():
    table = random_table(CLASSES, 20, 1.0)
    names = Pseudonyms(bytes(32), table["patient_id"], table["video"])
    with_ids, with_pseudonyms = (
        evaluate(Predictions(own, CLASSES, "ASD")) for own in (table, names.table(table))
    )
    assert with_ids.keys() == with_pseudonyms.keys() and len(with_ids) > 200
    for name, value in with_ids.items():
        drawn = DRAWN.search(name)
        tolerance = {"abs": 0.15} if drawn else {"rel": 1e-12, "abs": 1e-12}
        assert with_pseudonyms[name] == pytest.approx(value, **tolerance), name


@pytest.mark.slow
def test_a_video_that_failed_has_a_pseudonym(hidden, names):
    (failure,) = json.loads((artifacts(hidden) / "store.json").read_text())["failures"]
    video = names.video("Mustermann.mp4")
    assert failure == {
        **FAILURE,
        "label": "ASD",
        "video": video,
        "patient_id": names.patient("Mustermann"),
        "reason": f"{video}: no person found",
    }


def test_trials_that_name_patients_differently_are_not_compared(project_folder):
    use_tracking_store()
    with_ids, other = finished_trial(), finished_trial()
    config = AblationConfig(runs=f"{with_ids},{other}")
    assert len(select(config).trials) == 2
    client = MlflowClient()
    client.set_tag(other, ANONYMISED, "a1b2")
    with pytest.raises(
        InputError, match=r"name patients differently.*ids: \w{32};.*key a1b2: \w{32}\).*scrub run"
    ):
        select(config)
    client.set_tag(with_ids, ANONYMISED, "c3d4")
    with pytest.raises(InputError, match=r"key c3d4: \w{32}.*key a1b2: .*choose .* of one kind$"):
        select(config)
    client.set_tag(with_ids, ANONYMISED, "a1b2")
    assert len(select(config).trials) == 2


@pytest.mark.slow
def test_labels_are_added_under_pseudonyms_or_it_is_said_why_not(
    hidden, tmp_path, monkeypatch, capsys
):
    artifact = artifacts(hidden) / "videos.csv"
    content = artifact.read_bytes()
    monkeypatch.setattr("asd_experiments.tracking.evaluation.log_evaluation", lambda _: {})
    (tmp_path / "other.key").write_text("ab" * 32)
    stored = Path(run_of(hidden).info.artifact_uri.removeprefix("file://")) / "videos.csv"
    stored.unlink()
    run_evaluate(EvaluateConfig(run=hidden, pseudonym_key=str(tmp_path / "other.key")))
    told = capsys.readouterr().out
    assert re.search(r"No subgroups: .*cannot be given pseudonyms.*of the key", told)
    assert not stored.exists()
    run_evaluate(EvaluateConfig(run=hidden))
    assert stored.read_bytes() == content


@pytest.mark.slow
def test_a_patient_is_explained_by_id_or_pseudonym(hidden, store, names, tmp_path):
    quick = {"steps": 8, "sanity_clips": 1, "device": "cpu"}
    ids = list(store.videos["patient_id"])
    asked = f"{ids[0]},{names.patient(ids[1])}"
    run_id = explain(ExplainConfig(run=hidden, patients=asked, **quick))
    expected = [names.patient(name) for name in ids[:2]]
    table = read(artifacts(run_id) / "saliency.csv")
    assert table["patient_id"].drop_duplicates().tolist() == expected
    assert set(read(artifacts(run_id) / "sanity.csv")["patient_id"]) == {expected[0]}
    run = run_of(run_id)
    assert run.data.params["patients"] == ",".join(expected)
    assert run.data.tags[ANONYMISED] == names.fingerprint
    films = {path.name for path in (artifacts(run_id) / "films").iterdir()}
    assert films == {f"01_{expected[0]}.mp4", f"02_{expected[1]}.mp4"}
    texts = [str(run.to_dictionary()), table.to_csv()]
    assert not any(name in text for text in texts for name in ids)


@pytest.mark.slow
def test_an_explanation_needs_the_key(hidden, tmp_path, monkeypatch):
    (tmp_path / "other.key").write_text("ab" * 32)
    with pytest.raises(InputError, match=r"pseudonym_key: the run \w+ has pseudonyms of the key"):
        explain(ExplainConfig(run=hidden, pseudonym_key=str(tmp_path / "other.key")))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"there is no file .*that they were made with"):
        explain(ExplainConfig(run=hidden))


def test_an_error_is_kept_without_names(project_folder):
    use_tracking_store()
    names = Pseudonyms(bytes(32), ["P01"], ["P01/walk.mp4"])
    runs: list[str] = []

    def fail() -> None:
        with command_run("outer", "", told=names.text) as outer:
            runs.append(outer)
            with child_run(outer, "inner", level="trial", key="1", told=names.text) as inner:
                runs.append(inner)
                raise ValueError("patient 'P01' in P01/walk.mp4 has no frames")

    with pytest.raises(ValueError, match="P01"):
        fail()
    for run_id in runs:
        error = run_of(run_id).data.tags["asd.error"]
        assert names.patient("P01") in error and names.video("P01/walk.mp4") in error
        trace = (artifacts(run_id) / "traceback.txt").read_text()
        assert "in fail" in trace and trace.splitlines()[-1] == error
        assert "P01" not in error + trace


def labels(**columns: list) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    ids = [f"P{number:02d}" for number in range(count)]
    return pd.DataFrame({"video": ids, "patient_id": ids, "label": "ASD", **columns})


@pytest.mark.parametrize(
    ("values", "tells"),
    [
        ([f"Mr. {number}" for number in range(30)], True),
        (["Dr. A", "Dr. B"] * 15, False),
        ([float(10_000_000 + number) for number in range(30)], True),
        ([60.0 + number // 2 for number in range(30)], False),
        ([None] * 29 + ["a remark"], False),
        ([f"Mr. {number % 11}" for number in range(30)], True),  # of more kinds than group anything
        ([float(number % 20) for number in range(30)], False),  # numbers are cut into thirds
        ([np.nan] * 30, False),
        (["P07"] + [None] * 29, True),  # somebody else's id
        (["brother of P07"] + [None] * 29, True),
    ],
)
def test_columns_that_tell_patients_apart_are_found(values, tells):
    table = labels(column=values)
    assert identifying_columns(table, "patient_id") == (["column"] if tells else [])
    assert identifying_columns(table, "column") == []


def test_metadata_says_more_than_the_class_and_not_who_it_is():
    table = labels(
        name=[f"Mr. {number}" for number in range(30)],
        sex=["f", "m"] * 15,
        grade=[str(number % 4) for number in range(30)],
        reader_anna=["yes"] * 30,
    )
    assert metadata_columns(table, "patient_id") == ["sex", "grade"]
    short = table.assign(patient_id=[str(number) for number in range(30)])
    assert metadata_columns(short, "patient_id") == ["sex", "grade"]  # grade 3 is not patient 3
    table = table.assign(height=[1.5 + number / 100 for number in range(30)])
    assert metadata_columns(table, "patient_id") == ["sex", "grade", "height"]
    by_number = table.assign(
        patient_id=[str(number) for number in range(10_000, 10_030)],
        partner=[10_003.0, *[np.nan] * 29],
        site=[f"site {number}" for number in range(30)],
    )
    assert metadata_columns(by_number, "site") == ["sex", "grade", "height", "site"]


def test_known_columns_are_logged_however_rare_unless_they_hold_an_id():
    rare = [f"{number}" for number in range(30)]
    table = labels(view=rare, disease=rare, reader_1=["yes", "no", "undecided"] * 10)
    assert identifying_columns(table, "patient_id") == []
    kept = hidden_labels(table, Pseudonyms(bytes(32)), "patient_id")
    assert kept.columns.tolist() == table.columns.tolist()
    telling = labels(view=[*rare[:29], "P07"], disease=rare)
    assert identifying_columns(telling, "patient_id") == ["view"]
