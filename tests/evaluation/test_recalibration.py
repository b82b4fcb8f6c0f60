import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from asd_experiments.evaluation.recalibration import (
    calibration_in_the_large,
    calibration_slope,
    recalibration,
)

from .builders import CLASSES, THREE, cases_of, random_table, two_class_table


def simulate(size: int, *, stretch: float = 1.0, shift: float = 0.0, seed: int = 0):
    """Truth drawn from probabilities, which are then told with their logits changed."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, size)
    return rng.random(size) < expit(true), expit(stretch * true + shift)


def test_probabilities_that_come_true_have_slope_1_and_intercept_0():
    labels, scores = simulate(20_000)
    assert calibration_slope(labels, scores) == pytest.approx(1, abs=0.05)
    assert calibration_in_the_large(labels, scores) == pytest.approx(0, abs=0.05)


def test_too_extreme_has_a_lower_slope_and_too_high_a_lower_intercept():
    assert calibration_slope(*simulate(20_000, stretch=2)) == pytest.approx(1 / 2, abs=0.03)
    assert calibration_slope(*simulate(20_000, stretch=0.5)) == pytest.approx(2, abs=0.1)
    assert calibration_in_the_large(*simulate(20_000, shift=1)) == pytest.approx(-1, abs=0.05)
    assert calibration_slope(*simulate(20_000, shift=1)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("size", [30, 81, 2000])
def test_both_are_those_of_statsmodels(size):
    labels, scores = simulate(size, stretch=1.7, shift=0.4, seed=size)
    slope = sm.GLM(labels, sm.add_constant(logit(scores)), family=sm.families.Binomial()).fit()
    large = sm.GLM(labels, np.ones(size), family=sm.families.Binomial(), offset=logit(scores)).fit()
    assert calibration_slope(labels, scores) == pytest.approx(slope.params[1], rel=1e-4)
    assert calibration_in_the_large(labels, scores) == pytest.approx(large.params[0], abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([True, True, False], [0.9, 0.8, 0.1]),
        ([False, False, True], [0.9, 0.8, 0.1]),
        ([True, False, True, False], [0.9, 0.5, 0.5, 0.1]),  # they share one score alone
        ([True, False, True], [0.4, 0.4, 0.4]),
        ([True, True], [0.9, 0.2]),
        ([False, False], [0.9, 0.2]),
    ],
)
def test_separated_labels_have_no_slope(labels, scores):
    assert calibration_slope(np.array(labels), np.array(scores)) is None


def test_one_class_has_no_intercept_and_certain_probabilities_have_one():
    assert calibration_in_the_large(np.array([True, True]), np.array([0.9, 0.2])) is None
    sure = np.array([1.0, 1.0, 0.0, 0.0])
    labels = np.array([True, False, False, True])
    assert calibration_in_the_large(labels, sure) == pytest.approx(0, abs=1e-6)
    assert calibration_slope(labels, sure) == pytest.approx(0, abs=1e-6)


def test_three_classes_have_the_mean_over_the_classes():
    rows = random_table(THREE, 60, 0.7)
    rows = rows[rows["split"] == "test"]
    cases = cases_of(rows, THREE)
    slopes = [calibration_slope(cases.truth == i, cases.probabilities[:, i]) for i in range(3)]
    values = recalibration(cases)
    assert values["calibration_slope"] == pytest.approx(np.mean(slopes))
    assert recalibration(cases_of(rows[rows["label"] != "LCS"], THREE)) == {}


def test_two_classes_have_that_of_the_positive_one():
    rows = two_class_table(
        [(0, f"p{i}", CLASSES[i % 2], s) for i, s in enumerate([0.9, 0.8, 0.3, 0.4, 0.7, 0.2])]
    )
    ours, other = (recalibration(cases_of(rows, positive_class=name)) for name in CLASSES)
    assert ours["calibration_slope"] == pytest.approx(other["calibration_slope"], rel=1e-5)
    assert ours["calibration_intercept"] == pytest.approx(-other["calibration_intercept"])
