import re

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.evaluation.metrics import metric_values
from asd_experiments.registry.card import card_of
from asd_experiments.registry.document import to_html, to_markdown
from asd_experiments.registry.limits import limits
from asd_experiments.registry.records import shortened
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.checklist import VALIDATED_BY
from asd_experiments.tracking.finished_trial import FinishedTrial
from asd_experiments.tracking.runs import log_metrics
from tests.evaluation.builders import CLASSES
from tests.pages import Tags
from tests.reporting.builders import predictions

from .builders import in_memory, log_trial

HEADINGS = [
    *("Model details", "Intended use", "Factors", "Metrics", "Evaluation data and training data"),
    *("Quantitative analyses", "How it was selected", "Ethical considerations"),
    *("Caveats and recommendations", "Reporting standards: what is not met"),
]


@pytest.fixture(scope="module")
def trial(tracking):
    figures = {
        "test/patient/auroc": 0.81,
        "test/patient/auroc_ci_low": 0.7,
        "test/patient/auroc_ci_high": 0.9,
        "test/patient/auroc_fold_mean": 0.82,
        "test/patient/auroc_fold_sd": 0.05,
        "test/patient/brier": 0.2,
    }
    run_id = log_trial(predictions(0.8, num_patients=40), metrics=figures, with_tables=True)
    return FinishedTrial.read(run_id)


@pytest.fixture(scope="module")
def document(trial):
    return card_of(trial, [])


def videos(**columns: list[object]) -> pd.DataFrame:
    rows = {
        "patient_id": [f"p{n:02d}" for n in range(12)],
        "video": [f"{n}.mp4" for n in range(12)],
    }
    return pd.DataFrame({**rows, "label": [CLASSES[n % 2] for n in range(12)], **columns})


@pytest.mark.slow
def test_a_card_tells_what_the_run_holds(trial, document):
    text = to_markdown(document)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert "| AUROC | 0.810 [0.700, 0.900] | 0.820 ± 0.050 |" in text
    assert "| clip store (digest) | d1g35t |" in text and "| videos left out | 1 |" in text
    cases = trial.predictions.cases("test", "patient")
    called = int((cases.decisions[cases.truth == 0] == 0).sum())
    assert f"| truly ASD | {called} | {(cases.truth == 0).sum() - called} |" in text
    for threshold in trial.predictions.thresholds.values():
        assert f" {threshold:.3f} |" in text
    assert "| view left |" in text and "| view right |" in text
    assert "| external validation | CLAIM 32, TRIPOD | no |" in text
    assert "One configuration was trained, outside of a sweep." in text
    inner = metric_values(trial.predictions.cases("val", "patient"))["auroc"]
    assert f"| inner validation AUROC | {inner:.3f} [" in text
    assert "1 of 41 videos could not be used" in text
    assert "Only 14 patients are non-ASD" in text and "Folds keep patients apart, not sites" in text


@pytest.mark.slow
def test_the_page_is_whole_shows_the_figures_and_names_no_patient(document):
    page, text = to_html(document), to_markdown(document)
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and tags.seen.count("svg") == 3
    assert not re.search(r'(src|href)="(?!#)', page)  # it needs no network
    for written in (page, text):
        assert not re.search(r"\bp\d\d\b", written) and ".mp4" not in written
    assert "In the clip store" in page and "perfect" in page  # flow and calibration
    assert re.search(r">9 \(6/3\)<", page)  # test patients of a fold, by class


@pytest.mark.slow
def test_the_card_of_a_trial_in_a_sweep_tells_what_the_choice_cost(tracking):
    client = MlflowClient()
    tags = {"asd.level": "sweep"}
    sweep = client.create_run("0", run_name="sweep grid", tags=tags).info.run_id
    chosen, other = (log_trial(predictions(1.0, seed=s), parent=sweep) for s in (1, 2))
    state, judged = ["COMPLETE", "COMPLETE", "PRUNED"], [0.9, 0.8, None]
    rows = {"state": state, "val/patient/auroc": judged, "run_id": [chosen, other, "gone"]}
    log_table(sweep, pd.DataFrame(rows), "trials.csv")
    log_metrics(sweep, {"num_trials": 3.0, "best/val/patient/auroc": 0.9})
    text = to_markdown(card_of(FinishedTrial.read(chosen), []))
    assert "3 configurations were tried by sweep grid" in text
    assert "of which 2 came to their end; this is the one that the sweep chose" in text
    assert "how much better it looked (optimism)" in text
    assert "Report the test figure, not the validation figure" in text
    text = to_markdown(card_of(FinishedTrial.read(other), []))
    assert "the sweep chose another one, by val/patient/auroc: somebody chose this one." in text


@pytest.mark.slow
def test_what_a_run_lacks_is_said(tracking):
    text = to_markdown(card_of(FinishedTrial.read(log_trial(predictions(1.0))), []))
    assert "Flow of participants: not in the run; the command evaluate logs it" in text
    assert "The labels tell nothing of the patients but their class" in text


def test_a_card_says_on_whom_the_model_was_not_tested():
    columns = {"view": ["left"] * 12, "age": [60.0 + n for n in range(12)]}
    trial = in_memory(
        predictions(1.0, num_patients=12), parameters={"group_by": "site"}, videos=videos(**columns)
    )
    rows = {"column": ["", "sex"], "level": ["all patients", "f"], "num_patients": [12, 3]}
    told = "\n".join(limits(trial, pd.DataFrame({**rows, "is_small": [False, True]}), None))
    assert "Folds keep every site whole" in told
    assert "fewer than 5 patients, of which figures tell nothing: sex f (n = 3)" in told
    assert "view is always left: nothing is known of other values" in told
    assert "age goes from 60 to 71: not tested beyond" in told
    assert "(sex, severity, site, camera, ...) was not looked at" in told


def test_a_card_leads_to_the_external_validation():
    table = predictions(1.0, num_patients=12)
    assert "nobody has tested the model on another one" in limits(in_memory(table), None, None)[0]
    tags = {VALIDATED_BY: "r123"}
    assert "its external validation, run r123" in limits(in_memory(table, tags=tags), None, None)[0]


@pytest.mark.parametrize("room", [400, 900, 1500, 10_000])
def test_a_description_keeps_what_limits_the_use_first(document, room):
    card = to_markdown(document)
    told = shortened(card, room)
    assert len(told) <= room and "![" not in told and "Tested by cross-validation" in told
    kept = re.findall(r"^## (.*)$", told, re.MULTILINE)
    assert kept == [heading for heading in HEADINGS if heading in kept]
    assert not kept or "Intended use" in kept
    assert (len(kept) > 5) == (room == 10_000)
