import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.proportions import likelihood_ratio_intervals, wilson_interval
from asd_experiments.evaluation.ranking import auroc_interval
from asd_experiments.evaluation.uncertainty import metric_intervals

from .builders import CLASSES, THREE, cases_of, random_table, two_class_table

SHARES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")


def of_test(classes=CLASSES, num_patients=40, effect=0.7, unit="clip", **settings):
    table = random_table(classes, num_patients, effect, **settings)
    return Predictions(table, classes, "ASD").cases("test", unit)


@pytest.mark.parametrize("classes", [CLASSES, THREE])
def test_repeating_every_clip_adds_no_certainty(classes):
    cases = of_test(classes)
    repeated = replace(cases, rows=pd.concat([cases.rows] * 4, ignore_index=True))
    once, often = metric_intervals(cases), metric_intervals(repeated)
    assert once.keys() == often.keys()
    for name, interval in once.items():
        assert often[name] == pytest.approx(interval), name


def test_independent_cases_have_the_textbooks_intervals():
    cases = of_test(unit="patient")
    intervals = metric_intervals(cases)
    table = pd.crosstab(cases.truth, cases.decisions).to_numpy()
    (tp, fn), (fp, tn) = table.tolist()
    assert intervals["accuracy"] == wilson_interval(tp + tn, 40)
    assert intervals["sensitivity"] == wilson_interval(tp, tp + fn)
    assert intervals["specificity"] == wilson_interval(tn, tn + fp)
    assert intervals["ppv"] == wilson_interval(tp, tp + fp)
    assert intervals["npv"] == wilson_interval(tn, tn + fn)
    ratios = likelihood_ratio_intervals(
        true_positive=tp, false_positive=fp, false_negative=fn, true_negative=tn
    )
    assert (intervals["lr_positive"], intervals["lr_negative"]) == ratios


def test_patients_of_one_group_are_not_independent():
    cases = of_test(unit="patient")
    families = replace(cases, rows=cases.rows.assign(group=[str(i // 4) for i in range(40)]))
    ours = metric_intervals(families)
    assert all(ours[name] != metric_intervals(cases)[name] for name in SHARES)


def test_clips_are_surer_of_nothing_than_their_patients():
    """Clips of a patient are nearly the same: the interval is about as wide as that of patients."""
    clips = metric_intervals(of_test(clips=20))
    patients = metric_intervals(of_test(clips=20, unit="patient"))
    naive = wilson_interval(400, 800)
    for name in SHARES:
        width = clips[name].high - clips[name].low
        assert width > 0.6 * (patients[name].high - patients[name].low)
        assert width > 2 * (naive.high - naive.low)


def test_the_bootstrap_agrees_with_wilson_where_both_hold():
    """With one clip each, every clip in a group of its own or in one with its copy."""
    cases = of_test(num_patients=300, clips=1)
    twice = replace(cases, rows=pd.concat([cases.rows] * 2, ignore_index=True))
    exact, drawn = metric_intervals(cases), metric_intervals(twice)
    for name in ("accuracy", "sensitivity", "specificity"):
        assert tuple(drawn[name]) == pytest.approx(tuple(exact[name]), abs=0.02), name
    for name in ("ppv", "npv"):  # of draws that have this cohort's share of ASD: a little surer
        low, high = (ours - theirs for ours, theirs in zip(drawn[name], exact[name], strict=True))
        assert 0 < low < 0.04 and -0.04 < high < 0, name
    for name in ("lr_positive", "lr_negative"):
        assert drawn[name] == pytest.approx(exact[name], rel=0.1), name


def test_the_auroc_is_that_of_its_own_function():
    for cases in (of_test(), of_test(THREE, unit="video")):
        assert metric_intervals(cases)["auroc"] == auroc_interval(cases)


@pytest.mark.parametrize("clips", [1, 5])
def test_nothing_without_a_fault_is_certain(clips):
    rows = two_class_table(
        [(0, f"{c}{i}", c, 0.9 if c == "ASD" else 0.1) for c in CLASSES for i in range(12)]
    )
    cases = cases_of(pd.concat([rows.assign(clip_start=n) for n in range(clips)]))
    intervals = metric_intervals(cases)
    for name in ("sensitivity", "specificity", "ppv", "npv", "auprc"):
        assert intervals[name] == pytest.approx((12 / (12 + 1.959964**2), 1)), name
    assert intervals["accuracy"] == pytest.approx((24 / (24 + 1.959964**2), 1))
    assert intervals["auroc"] == auroc_interval(cases)
    assert intervals.keys() == {*SHARES, "auroc", "auprc"}  # what else does not vary has none


def test_a_useless_network_has_no_interval_of_certain_uselessness():
    rows = two_class_table([(0, f"{c}{i}", c, 0.5) for c in CLASSES for i in range(12)])
    intervals = metric_intervals(cases_of(rows))
    assert not {"auroc", "balanced_accuracy", "mcc", "kappa", "brier"} & intervals.keys()
    assert intervals["specificity"] == wilson_interval(0, 12)


def test_three_classes_have_shares_of_each_and_means():
    cases = of_test(THREE, 60, unit="patient")
    intervals = metric_intervals(cases)
    hits = int(((cases.truth == 1) & (cases.decisions == 1)).sum())
    assert intervals["sensitivity_DHS"] == wilson_interval(hits, 20)
    widths = [intervals[f"sensitivity_{name}"] for name in THREE]
    mean = intervals["sensitivity"]
    assert mean.high - mean.low < min(high - low for low, high in widths)
    assert "lr_positive" not in intervals


def test_a_class_in_a_single_group_leaves_shares_of_independent_cases():
    rows = two_class_table([(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.1), (0, "c", "ASD", 0.7)])
    assert metric_intervals(cases_of(rows)).keys() == set(SHARES)
    assert metric_intervals(cases_of(pd.concat([rows] * 2))) == {}
    assert metric_intervals(cases_of(rows.iloc[:0])) == {}


def test_the_published_size_is_fast():
    cases = of_test(num_patients=81, clips=25)
    assert len(cases) == 2025
    metric_intervals(cases, num_resamples=10)
    start = time.process_time()
    metric_intervals(cases)
    assert time.process_time() - start < 2


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match=r"level must be between 0 and 1, got 1\.5"):
        metric_intervals(of_test(), level=1.5)
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        metric_intervals(of_test(), num_resamples=0)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["sensitivity", "auprc", "brier"])
def test_intervals_of_clips_cover_what_many_patients_have(metric):
    """81 patients of 10 clips against 4,000 of the same kind."""
    many = of_test(num_patients=4000, clips=10, seed=1)
    many = replace(many, thresholds=dict.fromkeys(range(5), 0.5))
    truth = _value(many, metric)
    covered = []
    for seed in range(150):
        cases = replace(
            of_test(num_patients=82, clips=10, seed=seed + 2), thresholds=many.thresholds
        )
        low, high = metric_intervals(cases, num_resamples=300, seed=seed)[metric]
        covered.append(low <= truth <= high)
    assert 0.88 <= np.mean(covered) <= 0.99


def _value(cases, metric):
    from asd_experiments.evaluation.metrics import metric_values

    return metric_values(cases)[metric]
