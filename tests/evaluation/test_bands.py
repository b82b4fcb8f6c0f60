import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from asd_experiments.evaluation.bands import precision_recall_band, roc_band
from asd_experiments.evaluation.bootstrap import draw_groups, group_numbers
from asd_experiments.evaluation.cases import Cases, Predictions
from asd_experiments.evaluation.curves import POOLED, precision_recall_points, roc_points

from .builders import CLASSES, THREE, random_table, two_class_table

GRID = np.linspace(0, 1, 101)


def cases(classes=CLASSES, num_patients: int = 30, unit="patient", clips: int = 3) -> Cases:
    table = random_table(classes, num_patients, 1.0, clips=clips)
    return Predictions(table, classes, "ASD").cases("test", unit)


def draws(of: Cases, num_resamples: int):
    """Truth and scores of every draw, its groups copied as often as they were drawn."""
    for weights in draw_groups(of, num_resamples, 0):
        units = np.repeat(np.arange(len(of)), weights[group_numbers(of)].astype(int))
        yield of.truth[units] == 0, of.probabilities[units, 0]


@pytest.mark.parametrize("unit", ["patient", "clip"])
def test_sensitivities_are_those_of_copied_draws(unit):
    judged = cases(unit=unit)
    heights = []
    for truth, scores in draws(judged, 200):
        x, y, _ = roc_curve(truth, scores, drop_intermediate=False)
        heights.append([y[x <= place + 1e-12].max() for place in GRID])
    low, high = np.quantile(heights, [0.025, 0.975], axis=0)
    band = roc_band(judged, num_resamples=200)
    assert band["false_positive_rate"].tolist() == pytest.approx(GRID)
    # Between two corners that no grid line meets the curve climbs by less than one corner.
    assert band["ci_low"].to_numpy() == pytest.approx(low, abs=0.02)
    assert band["ci_high"].to_numpy() == pytest.approx(high, abs=0.02)


@pytest.mark.parametrize("unit", ["patient", "clip"])
def test_precisions_are_those_of_copied_draws(unit):
    judged = cases(unit=unit)
    heights = []
    for truth, scores in draws(judged, 200):
        precision, recall, _ = precision_recall_curve(truth, scores)
        precision, recall = precision[-2::-1], recall[-2::-1]  # without the point of no case
        first = [np.flatnonzero(recall >= max(place, 1e-9) - 1e-12)[0] for place in GRID]
        heights.append(precision[first])
    low, high = np.quantile(heights, [0.025, 0.975], axis=0)
    band = precision_recall_band(judged, num_resamples=200)
    assert band["ci_low"].to_numpy() == pytest.approx(low)
    assert band["ci_high"].to_numpy() == pytest.approx(high)


def test_the_pooled_curves_lie_in_their_bands():
    judged = cases(num_patients=80)
    points = roc_points(judged)
    curve = points[points["fold"] == POOLED]
    band = roc_band(judged)
    inside = np.interp(curve["false_positive_rate"], band["false_positive_rate"], band["ci_high"])
    assert (curve["true_positive_rate"] <= inside + 0.05).all()
    points = precision_recall_points(judged)
    curve = points[(points["fold"] == POOLED) & (points["recall"] > 0)]
    band = precision_recall_band(judged)
    low = np.interp(curve["recall"], band["recall"], band["ci_low"])
    assert (curve["precision"] >= low - 0.05).mean() > 0.95


def test_more_clips_of_the_same_patients_make_no_narrower_band():
    few, many = (roc_band(cases(unit="clip", clips=number)) for number in (3, 30))
    widths = [float((band["ci_high"] - band["ci_low"]).mean()) for band in (few, many)]
    assert widths[1] > 0.7 * widths[0]


def test_the_ends_are_those_of_every_curve():
    band = roc_band(cases())
    last = band.iloc[-1]
    assert (last["ci_low"], last["ci_high"]) == (1, 1)
    assert (band["ci_low"] <= band["ci_high"]).all()
    assert (band[["ci_low", "ci_high"]].diff().dropna() >= -1e-12).all(axis=None)


def test_three_classes_have_a_band_each():
    assert roc_band(cases(THREE))["class"].unique().tolist() == THREE
    assert precision_recall_band(cases(THREE))["class"].unique().tolist() == THREE


@pytest.mark.parametrize("band_of", [roc_band, precision_recall_band])
def test_no_band_where_it_would_be_false(band_of):
    separated = [(0, f"p{n}", ("ASD", "non-ASD")[n % 2], 0.9 - 0.8 * (n % 2)) for n in range(8)]
    alone = [(0, "a", "ASD", 0.4), (0, "b", "non-ASD", 0.6), (0, "c", "non-ASD", 0.2)]
    for rows in (separated, alone):
        judged = Cases(two_class_table(rows), CLASSES, "ASD", {0: 0.5})
        band = band_of(judged)
        assert band.empty and {"class", "ci_low", "ci_high"} <= set(band.columns)
        assert isinstance(band, pd.DataFrame)
