"""Do intervals hold the truth as often as they say? Few repetitions: 95 % within three errors.

`benchmarks/evaluation.py` tries 1,000 repetitions and more settings.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.comparison import delong, difference, mcnemar, permutation_p
from asd_experiments.evaluation.predictions import Unit, select_units
from asd_experiments.evaluation.proportions import wilson_interval
from asd_experiments.evaluation.ranking import auroc_interval
from asd_experiments.simulation.predictions import PredictedCohort, simulate_predictions

pytestmark = pytest.mark.slow
COHORT = PredictedCohort()
REPETITIONS = 100
ALLOWED = 3 * np.sqrt(0.05 * 0.95 / REPETITIONS)


def trials(
    aurocs: list[float],
    seed: int,
    unit: Unit,
    *,
    correlation: float = 0.0,
    cohort: PredictedCohort = COHORT,
) -> list[Cases]:
    tables = simulate_predictions(cohort, aurocs, correlation=correlation, seed=seed)
    thresholds = dict.fromkeys(range(cohort.folds), 0.5)
    return [
        Cases(select_units(table, "test", unit), cohort.classes, "ASD", thresholds)
        for table in tables
    ]


def true_auroc(unit: Unit, auroc: float) -> float:
    return auroc if unit == "patient" else COHORT.clip_auroc(COHORT.separation(auroc))


@pytest.mark.parametrize("auroc", [0.7, 0.86, 0.95])
@pytest.mark.parametrize("unit", ["patient", "clip"])
def test_intervals_hold_the_true_auroc_as_often_as_they_say(unit, auroc):
    truth, held = true_auroc(unit, auroc), []
    for seed in range(REPETITIONS):
        low, high = auroc_interval(trials([auroc], seed, unit)[0], num_resamples=1000)
        held.append(low <= truth <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=ALLOWED)


def test_intervals_that_take_clips_for_independent_do_not():
    few = PredictedCohort({"ASD": 24, "non-ASD": 12}, clips_per_patient=(20, 20))
    truth, held = few.clip_auroc(few.separation(0.86)), []
    for seed in range(30):
        (cases,) = trials([0.86], seed, "clip", cohort=few)
        alone = replace(cases, rows=cases.rows.assign(group=[f"c{i}" for i in range(len(cases))]))
        low, high = auroc_interval(alone, num_resamples=200)
        held.append(low <= truth <= high)
    assert np.mean(held) < 0.75


def test_wilson_holds_the_true_sensitivity():
    truth, held = COHORT.patient_sensitivity(COHORT.separation(0.86)), []
    for seed in range(REPETITIONS):
        (cases,) = trials([0.86], seed, "patient")
        positive = cases.truth == cases.positive
        hits = int((cases.decisions == cases.positive)[positive].sum())
        low, high = wilson_interval(hits, int(positive.sum()), 0.95)
        held.append(low <= truth <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=ALLOWED)


@pytest.mark.parametrize("unit", ["patient", "clip"])
def test_differences_are_held_and_tests_see_none_where_there_is_none(unit):
    held, delongs, mcnemars = [], [], []
    for seed in range(REPETITIONS):
        reference, cases = trials([0.86, 0.86], seed, unit, correlation=0.5)
        low, high = difference(cases, reference, "auroc", num_resamples=1000).interval
        held.append(low <= 0 <= high)
        delongs.append(delong(cases, reference))
        mcnemars.append(mcnemar(cases, reference))
    assert np.mean(held) == pytest.approx(0.95, abs=ALLOWED)
    assert np.mean(np.array(delongs) < 0.05) == pytest.approx(0.05, abs=ALLOWED)
    if unit == "patient":  # the exact test is cautious: at most 5 %
        assert np.mean(np.array(mcnemars) < 0.05) < 0.05 + ALLOWED


def test_a_difference_of_four_hundredths_is_held():
    held = []
    for seed in range(REPETITIONS):
        reference, cases = trials([0.82, 0.86], seed, "patient", correlation=0.5)
        low, high = difference(cases, reference, "auroc", num_resamples=1000).interval
        held.append(low <= 0.04 <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=ALLOWED)


@pytest.mark.parametrize("unit", ["patient", "clip"])
def test_p_values_of_trials_that_know_nothing_are_uniform(unit):
    p_values = [
        permutation_p(trials([0.5], seed, unit)[0], num_permutations=500, seed=seed)
        for seed in range(REPETITIONS)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
