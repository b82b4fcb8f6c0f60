import numpy as np
import pandas as pd
import pytest

from asd_experiments.evaluation.cases import Cases, Predictions
from asd_experiments.evaluation.decision_curve import THRESHOLDS, decision_curve

from .builders import CLASSES, THREE, random_table, two_class_table


def patients(scores: dict[str, tuple[str, float]]) -> Cases:
    table = two_class_table([(0, name, label, score) for name, (label, score) in scores.items()])
    return Predictions(table, CLASSES, "ASD").cases("test", "patient")


def at(table: pd.DataFrame, strategy: str, threshold: float, name: str = "ASD") -> pd.Series:
    chosen = (table["strategy"] == strategy) & np.isclose(table["threshold"], threshold)
    (row,) = table[chosen & (table["class"] == name)].to_dict("records")
    return row


FOUR = {"a": ("ASD", 0.9), "b": ("ASD", 0.3), "c": ("non-ASD", 0.6), "d": ("non-ASD", 0.1)}


def test_net_benefit_counted_by_hand():
    table = decision_curve(patients(FOUR))
    # From 0.2 on a and b are treated rightly and c needlessly, at odds of 1 to 4.
    assert at(table, "model", 0.2)["net_benefit"] == pytest.approx(2 / 4 - 1 / 4 * 0.25)
    # From 0.5 on a rightly and c needlessly, at even odds.
    row = at(table, "model", 0.5)
    assert (row["true_positives"], row["false_positives"]) == (0.25, 0.25)
    assert row["net_benefit"] == pytest.approx(0)
    assert at(table, "all", 0.2)["net_benefit"] == pytest.approx(0.5 - 0.5 * 0.25)


def test_treating_nobody_has_no_benefit_and_treating_all_breaks_even_at_the_prevalence():
    table = decision_curve(patients(FOUR))
    assert (table.loc[table["strategy"] == "none", "net_benefit"] == 0).all()
    assert at(table, "all", 0.5)["net_benefit"] == pytest.approx(0)
    assert at(table, "all", 0.6)["net_benefit"] < 0


def test_a_case_at_the_threshold_is_treated():
    table = decision_curve(patients(FOUR))
    assert at(table, "model", 0.9)["true_positives"] == 0.25
    assert at(table, "model", 0.91)["true_positives"] == 0


def test_probabilities_of_0_and_1_lie_outside_all_thresholds():
    table = decision_curve(patients({"a": ("ASD", 1.0), "b": ("non-ASD", 0.0)}))
    model = table[table["strategy"] == "model"]
    assert model["net_benefit"].tolist() == [0.5] * len(THRESHOLDS)


def test_three_classes_have_a_curve_each_against_the_rest():
    cases = Predictions(random_table(THREE, 30, 1.0), THREE, "ASD").cases("test", "patient")
    table = decision_curve(cases)
    assert list(dict.fromkeys(table["class"])) == THREE
    for index, name in enumerate(THREE):
        treated = cases.probabilities[:, index] >= 0.4
        needed = cases.truth == index
        expected = (treated & needed).mean() - (treated & ~needed).mean() * 0.4 / 0.6
        assert at(table, "model", 0.4, name)["net_benefit"] == pytest.approx(expected)


def test_one_class_alone_has_no_curve():
    table = decision_curve(patients({"a": ("ASD", 0.9), "b": ("ASD", 0.3)}))
    assert table.empty and "net_benefit" in table.columns
