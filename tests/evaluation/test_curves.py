import numpy as np
import pytest

from asd_experiments.evaluation.curves import POOLED, precision_recall_points, roc_points

from .builders import THREE, cases_of, random_table, two_class_table

ROWS = two_class_table(
    [
        (0, "a", "ASD", 0.9),
        (0, "b", "non-ASD", 0.6),
        (0, "c", "ASD", 0.4),
        (1, "d", "non-ASD", 0.4),
        (1, "e", "non-ASD", 0.2),
    ]
)


def test_roc_points_by_hand():
    points = roc_points(cases_of(ROWS))
    assert points.columns.tolist() == [
        "fold",
        "class",
        "false_positive_rate",
        "true_positive_rate",
        "threshold",
    ]
    assert set(points["class"]) == {"ASD"}
    assert set(points["fold"]) == {"0", POOLED}  # fold 1 has no ASD
    first = points[points["fold"] == "0"].drop(columns=["fold", "class"])
    assert first.to_numpy().tolist() == [[0, 0, np.inf], [0, 0.5, 0.9], [1, 0.5, 0.6], [1, 1, 0.4]]
    pooled = points[points["fold"] == POOLED].drop(columns=["fold", "class"])
    expected = [[0, 0, np.inf], [0, 0.5, 0.9], [1 / 3, 0.5, 0.6], [2 / 3, 1, 0.4], [1, 1, 0.2]]
    assert pooled.to_numpy() == pytest.approx(np.array(expected))


def test_precision_recall_points_by_hand():
    points = precision_recall_points(cases_of(ROWS))
    pooled = points[points["fold"] == POOLED][["recall", "precision", "threshold"]]
    expected = [[0, 1, np.inf], [0.5, 1, 0.9], [0.5, 1 / 2, 0.6], [1, 2 / 4, 0.4], [1, 2 / 5, 0.2]]
    assert pooled.to_numpy() == pytest.approx(np.array(expected))


@pytest.mark.parametrize("points_of", [roc_points, precision_recall_points])
def test_three_classes_have_a_curve_each(points_of):
    points = points_of(cases_of(random_table(THREE, 15, 1.0), THREE, "not used"))
    pooled = points[points["fold"] == POOLED]
    assert pooled["class"].unique().tolist() == THREE
    assert set(points["fold"]) == {"0", "1", "2", "3", "4", POOLED}


@pytest.mark.parametrize("points_of", [roc_points, precision_recall_points])
def test_one_class_has_no_curve_but_the_same_columns(points_of):
    full = points_of(cases_of(ROWS))
    empty = points_of(cases_of(ROWS[ROWS["label"] == "ASD"]))
    assert empty.empty
    assert empty.columns.tolist() == full.columns.tolist()
