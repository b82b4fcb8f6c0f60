import numpy as np
import pytest
from scipy import stats

from asd_experiments.evaluation.bca import bca_interval, with_observed
from asd_experiments.evaluation.bootstrap import draw_groups, percentile_interval
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.ranking import auroc_interval, ranking_draws

from .builders import CLASSES, random_table


def test_agrees_with_scipy_where_patients_are_cases():
    cases = Predictions(random_table(CLASSES, 50, 1.5), CLASSES, "ASD").cases("test", "patient")
    scores, positive = cases.probabilities[:, cases.positive], cases.truth == cases.positive
    expected = stats.bootstrap(
        (scores[positive], scores[~positive]),
        lambda x, y, axis: (x[..., :, None] > y[..., None, :]).mean(axis=(-1, -2)),
        method="BCa",
        n_resamples=20000,
        batch=2000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    found = auroc_interval(cases, num_resamples=20000)
    assert found == pytest.approx((expected.low, expected.high), abs=0.01)
    plain = np.quantile(ranking_draws(cases, draw_groups(cases), ("auroc",))["auroc"], 0.025)
    assert found.low < plain - 0.01  # the correction is more than the chance of the draws


def test_without_bias_and_skewness_it_is_between_percentiles():
    draws = np.concatenate([np.arange(-500, 501), [0]]) / 10
    left_out = np.array([1.0, -1.0, 2.0, -2.0])
    holds = np.array([[True], [True], [True], [True]])
    found = bca_interval(np.concatenate([[0.0], left_out, draws]), holds, 0.9)
    assert found == pytest.approx(percentile_interval(draws, 0.9), abs=0.02)


def test_a_long_tail_upwards_moves_both_limits_up():
    """An exponential mean of few cases: its upper limit is farther from it than its lower."""
    sample = stats.expon.ppf((np.arange(20) + 0.5) / 20)
    weights = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), size=4000)
    values = with_observed(weights.astype(float)) @ sample
    values /= with_observed(weights.astype(float)).sum(axis=1)
    low, high = bca_interval(values, np.ones((20, 1), dtype=bool), 0.95)
    plain = percentile_interval(values[21:], 0.95)
    assert low > plain.low
    assert high > plain.high
    expected = stats.bootstrap((sample,), np.mean, n_resamples=4000, rng=np.random.default_rng(1))
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.03)


def test_rows_are_all_groups_then_each_left_out_then_the_draws():
    draws = np.array([[2.0, 0.0, 1.0]])
    expected = [[1, 1, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0], [2, 0, 1]]
    assert with_observed(draws).tolist() == expected


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 1.0, 1.0, 1.0, 1.0],  # no draw changes it
        [1.0, 1.0, 1.0, np.nan, np.nan],  # no draw holds every class
        [np.nan, 1.0, 1.0, 0.5, 0.7],  # undefined
        [1.0, 1.0, 1.0, 0.5, np.inf],
    ],
)
def test_what_has_no_interval(values):
    assert bca_interval(np.array(values), np.ones((2, 1), dtype=bool), 0.95) is None


def test_a_figure_that_no_group_changes_alone_and_draws_on_one_side_have_finite_limits():
    holds = np.ones((2, 1), dtype=bool)
    low, high = bca_interval(np.array([1.0, 1.0, np.nan, 0.5, 0.6, 0.7]), holds, 0.95)
    assert 0.5 <= low <= high <= 0.7
