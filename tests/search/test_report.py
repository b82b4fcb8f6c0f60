"""What is told of a sweep is what happened."""

from datetime import datetime, timedelta

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from asd_experiments.search import report
from asd_experiments.search import study as studies

METRIC = "val/patient/auroc"
FUSION = CategoricalDistribution(["late_average", "gated"])
RATE = FloatDistribution(1e-4, 1e-2, log=True)
START = datetime(2026, 1, 1)


def trial(value, state=TrialState.COMPLETE, *, seconds=60, steps=None, **changes):
    made = create_trial(
        state=state,
        values=value if isinstance(value, list) else None if value is None else [value],
        params=changes.pop("params", {"fusion": "gated", "rate": 1e-3}),
        distributions=changes.pop("distributions", {"fusion": FUSION, "rate": RATE}),
        intermediate_values=steps or {},
        **changes,
    )
    made.datetime_start = START
    made.datetime_complete = START + timedelta(seconds=seconds)
    return made


@pytest.fixture
def study():
    study = optuna.create_study(direction="maximize")
    gpus = {studies.GPUS: 0.5}
    study.add_trial(trial(0.7, user_attrs=gpus))
    study.add_trial(trial(0.9, seconds=100, user_attrs=gpus))
    study.add_trial(trial(None, TrialState.PRUNED, seconds=20, steps={1: -0.6, 2: -0.5}))
    study.add_trial(
        trial(None, TrialState.FAIL, seconds=5, user_attrs={studies.ERROR: "no memory"})
    )
    study.add_trial(trial(None, TrialState.FAIL, user_attrs={studies.EXCLUDED: True}))
    again = {"failed_trial": 3, "retry_history": [3]}
    study.add_trial(trial(0.9, seconds=80, system_attrs=again))
    return study


def test_the_table_has_one_row_per_trial_the_best_first(study):
    table = report.trial_table(study, [METRIC], {"1": "run of 1"})
    assert list(table["trial"]) == [1, 3, 0, 2]
    assert list(table["state"]) == ["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED"]
    assert table["run_id"].iloc[0] == "run of 1"
    pruned = table.iloc[-1]
    assert pruned["last_step"] == 2 and pruned["partial_validation_loss"] == 0.5
    assert pruned[[METRIC]].isna().all() and table["partial_validation_loss"][:3].isna().all()
    assert list(table["gpu_seconds"]) == [50, 0, 30, 0]


def test_of_equals_the_first_is_the_best(study):
    assert report.best_trial(study).number == 1
    assert report.best_trial(optuna.create_study()) is None


def test_the_cost_counts_every_attempt_and_pruning_against_a_usual_trial(study):
    cost = report.cost_of(study)
    assert cost.seconds == 60 + 100 + 20 + 5 + 80
    assert cost.saved_seconds == (60 + 100 + 80) / 3 - 20
    assert cost.gpu_seconds == 30 + 50


def test_runs_get_the_state_of_the_last_attempt(study):
    states = {"0": "FINISHED", "1": "FINISHED", "2": "KILLED", "3": "FINISHED"}
    assert report.run_states(study) == states


def test_the_note_tells_how_many_were_tried_and_how_the_best_was_chosen(study):
    table = report.trial_table(study, [METRIC], {})
    note = report.note_of(
        study, [METRIC], table, report.cost_of(study), ["[a](#/a)", "b"], "Best: 1."
    )
    assert note.splitlines()[:3] == ["[a](#/a) · b", "", "Best: 1."]
    assert "**4 configurations were tried**: 3 finished, 1 pruned, 0 failed" in note
    assert f"the highest `{METRIC}`" in note and "inner validation" in note
    assert "265 s of trials, 80 s of GPUs" in note
    rows = [line for line in note.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 4 and "0.9" in rows[1]


def test_importance_is_of_what_all_finished_trials_have_in_common():
    study = optuna.create_study(direction="maximize")
    for number in range(8):
        params, distributions = {"rate": 10 ** (-2 - number / 8)}, {"rate": RATE}
        if number % 2:  # a parameter under a condition
            params, distributions = params | {"fusion": "gated"}, distributions | {"fusion": FUSION}
        study.add_trial(trial(number / 8, params=params, distributions=distributions))
    study.add_trial(trial(None, TrialState.PRUNED, steps={1: -0.1}))
    figures = dict(report._plots(study, [METRIC], study.get_trials(states=(TrialState.COMPLETE,))))
    importance = figures[f"{METRIC}: importance"]
    assert list(importance.data[0].y) == ["rate"]
    page = report.page_of_plots(study, [METRIC], "Sweep")
    for heading in ("trial by trial", "parallel coordinates", "slices", "importance"):
        assert heading in page
    assert page.count("plotly.js v") == 1  # it needs no network, and the library once


def test_two_objectives_have_a_pareto_front():
    study = optuna.create_study(directions=["maximize", "minimize"])
    for values in ([0.7, 0.2], [0.9, 0.4], [0.6, 0.5]):
        study.add_trial(trial(values))
    metrics = [METRIC, "val/patient/loss"]
    figures = dict(report._plots(study, metrics, study.trials))
    others, front = figures["Pareto front"].data
    assert list(zip(others.x, others.y, strict=True)) == [(0.6, 0.5)]
    assert set(zip(front.x, front.y, strict=True)) == {(0.7, 0.2), (0.9, 0.4)}
    assert "Not computed" in figures["val/patient/loss: importance"]
