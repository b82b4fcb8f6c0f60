import numpy as np
import pytest

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.comparison import difference
from asd_experiments.evaluation.sampled import equally, sample
from asd_experiments.evaluation.uncertainty import metric_intervals
from tests.evaluation.builders import CLASSES
from tests.reporting.builders import predictions


@pytest.fixture(scope="module")
def cases():
    tables = [predictions(effect, seed=seed) for seed, effect in enumerate((0.6, 1.2, 0.9))]
    return [Predictions(table, CLASSES, "ASD").cases("test", "patient") for table in tables]


@pytest.mark.parametrize("metric", ["auroc", "f1", "brier"])
def test_a_difference_is_that_of_a_comparison_of_two(cases, metric):
    found = sample(cases, [metric])[metric].difference({1: 1.0}, {0: 1.0})
    expected = difference(cases[1], cases[0], metric)
    assert found.value == pytest.approx(expected.value)
    assert found.interval == pytest.approx(expected.interval)


def test_a_single_trial_has_the_interval_of_its_own_run(cases):
    sampled = sample(cases, ["auroc", "accuracy"])
    for metric in ("auroc", "accuracy"):
        assert sampled[metric].estimate({2: 1.0}).interval == metric_intervals(cases[2])[metric]


def test_a_mean_of_trials_is_surer_than_one_but_not_by_much(cases):
    """The trials share their patients, whose luck does not average out."""
    sampled = sample(cases, ["accuracy"])["accuracy"]
    mean = sampled.estimate(equally([0, 1, 2]))
    assert mean.value == pytest.approx(sampled.observed.mean())
    draws = sampled.values[:, 1 + len(sampled.holds) :]
    single = [np.ptp(np.quantile(own, [0.025, 0.975])) for own in draws]
    assert 1 / np.sqrt(3) < (mean.interval.high - mean.interval.low) / np.mean(single) < 1


def test_p_and_interval_agree_on_whether_there_is_a_difference(cases):
    sampled = sample(cases, ["auroc", "accuracy"])
    for metric in ("auroc", "accuracy"):
        found = sampled[metric].difference({1: 1.0}, {0: 1.0})
        outside = found.interval.low > 0 or found.interval.high < 0
        assert outside == (found.p < 0.05)


def test_a_trial_does_not_differ_from_itself(cases):
    found = sample(cases, ["auroc"])["auroc"].difference({1: 1.0}, {1: 1.0})
    assert (found.value, found.interval, found.p) == (0, None, None)
