import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from asd_experiments.evaluation.calibration import (
    brier_score,
    calibration_points,
    expected_calibration_error,
)
from asd_experiments.evaluation.figures.calibration import calibration_figure
from asd_experiments.evaluation.predictions import select_units
from tests.evaluation.builders import CLASSES, THREE, cases_of, random_table, two_class_table


def test_points_by_hand():
    """Ten patients, five bins of two: one bin has one ASD of two, the lowest none."""
    scores = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    labels = ["non-ASD"] * 2 + ["ASD", "non-ASD"] * 3 + ["ASD"] * 2
    table = two_class_table(
        [
            (0, f"P{n}", label, score)
            for n, (label, score) in enumerate(zip(labels, scores, strict=False))
        ]
    )
    points = calibration_points(cases_of(select_units(table, "test", "patient")))
    assert points["count"].tolist() == [2] * 5
    assert points["mean_probability"].tolist() == pytest.approx([0.075, 0.25, 0.45, 0.65, 0.85])
    assert points["observed_share"].tolist() == [0, 0.5, 0.5, 0.5, 1]
    # Wilson 1927 for 1 of 2: centre 0.5, half width 1.96 sqrt(0.125 + 0.2401) / (1 + 1.9207)
    assert points["ci_low"].iloc[1] == pytest.approx(0.0945, abs=1e-3)
    assert points["ci_high"].iloc[1] == pytest.approx(0.9055, abs=1e-3)


def test_the_calibration_error_by_hand():
    """The ten patients again: bins miss by 0.075, 0.25, 0.05, 0.15 and 0.15."""
    scores = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    labels = ["non-ASD"] * 2 + ["ASD", "non-ASD"] * 3 + ["ASD"] * 2
    pairs = enumerate(zip(labels, scores, strict=True))
    cases = cases_of(two_class_table([(0, f"P{n}", label, s) for n, (label, s) in pairs]))
    assert expected_calibration_error(cases) == pytest.approx((0.075 + 0.25 + 0.05 + 0.3) / 5)


def test_the_calibration_error_is_torchmetrics_where_bins_of_equal_size_have_equal_width():
    rng = np.random.default_rng(0)
    scores = (np.arange(50) + 0.5) / 50
    labels = [CLASSES[0] if hit else CLASSES[1] for hit in rng.random(50) < scores**2]
    pairs = enumerate(zip(labels, scores.tolist(), strict=True))
    cases = cases_of(two_class_table([(0, f"P{n}", label, s) for n, (label, s) in pairs]))
    theirs = binary_calibration_error(
        torch.from_numpy(scores), torch.from_numpy((cases.truth == 0).astype(int)), n_bins=5
    )
    assert expected_calibration_error(cases) == pytest.approx(float(theirs), abs=1e-6)


def test_the_calibration_error_of_three_classes_is_the_mean_over_the_curves():
    cases = cases_of(select_units(random_table(THREE, 30, 1.0), "test", "patient"), THREE)
    points = calibration_points(cases)
    gaps = (points["mean_probability"] - points["observed_share"]).abs() * points["count"]
    expected = gaps.groupby(points["class"]).sum().mean() / 30
    assert expected_calibration_error(cases) == pytest.approx(expected)


def test_the_brier_score_is_scikit_learns():
    rng = np.random.default_rng(0)
    score, truth = rng.random(50), rng.integers(0, 2, 50)
    ours = brier_score(truth, np.stack([1 - score, score], axis=1))
    assert ours == pytest.approx(brier_score_loss(truth, score))


def test_the_brier_score_of_three_classes_by_hand():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
    assert brier_score(np.array([0, 2]), probabilities) == pytest.approx((0.38 + 2.0) / 2)


def test_the_same_probability_everywhere_is_one_point():
    table = two_class_table([(0, f"P{n}", CLASSES[n % 2], 0.5) for n in range(6)])
    points = calibration_points(cases_of(select_units(table, "test", "patient")))
    assert points[["count", "observed_share"]].to_numpy().tolist() == [[6, 0.5]]


def test_the_figure_names_its_axes_classes_and_score():
    rows = select_units(random_table(THREE, 30, 1.0), "test", "patient")
    figure = calibration_figure(cases_of(rows, THREE), "Test")
    legend = figure.legends[0]
    assert [text.get_text().split(":")[0] for text in legend.get_texts()] == ["perfect", *THREE]
    assert legend.get_title().get_text().startswith("Brier score 0.")
    assert figure.axes[0].get_xlabel() == "predicted probability"
