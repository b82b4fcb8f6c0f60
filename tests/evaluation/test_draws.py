import numpy as np
import pytest
from sklearn import metrics

from asd_experiments.evaluation.bootstrap import draw_groups, group_numbers
from asd_experiments.evaluation.cases import Cases, Predictions
from asd_experiments.evaluation.uncertainty import metric_draws

from .builders import CLASSES, THREE, random_table, two_class_table


def drawn(cases: Cases, weights: np.ndarray) -> np.ndarray:
    """Indices of the units of a draw, each as often as its group was drawn."""
    return np.repeat(np.arange(len(cases)), weights[group_numbers(cases)].astype(int))


def specificity(truth: np.ndarray, decisions: np.ndarray, index: int) -> float:
    return metrics.recall_score(truth != index, decisions != index)


def by_sklearn(cases: Cases, units: np.ndarray) -> dict[str, float]:
    truth, decisions = cases.truth[units], cases.decisions[units]
    scores, positive = cases.probabilities[units], cases.positive
    average = {"average": "macro"} if positive is None else {"pos_label": positive}
    ranked = range(len(cases.classes)) if positive is None else [positive]
    return {
        "auroc": np.mean([metrics.roc_auc_score(truth == k, scores[:, k]) for k in ranked]),
        "auprc": np.mean(
            [metrics.average_precision_score(truth == k, scores[:, k]) for k in ranked]
        ),
        "accuracy": metrics.accuracy_score(truth, decisions),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, decisions),
        "sensitivity": metrics.recall_score(truth, decisions, **average),
        "specificity": np.mean([specificity(truth, decisions, k) for k in ranked]),
        "f1": metrics.f1_score(truth, decisions, **average),
        "mcc": metrics.matthews_corrcoef(truth, decisions),
        "kappa": metrics.cohen_kappa_score(truth, decisions),
        "brier": np.mean(((scores - np.eye(len(cases.classes))[truth]) ** 2).sum(axis=1))
        / (2 if positive is not None else 1),
    }


@pytest.mark.parametrize("classes", [CLASSES, THREE])
@pytest.mark.parametrize("unit", ["clip", "patient"])
def test_metrics_of_draws_agree_with_scikit_learn_on_the_drawn_rows(classes, unit):
    table = random_table(classes, 30, 1.0)
    for column in (name for name in table if name.startswith("probability_")):
        table[column] = table[column].round(1)  # ties
    cases = Predictions(table, classes, "ASD").cases("test", unit)
    weights = draw_groups(cases, 5, seed=1)
    found = metric_draws(cases, weights)
    for place, row in enumerate(weights):
        for name, value in by_sklearn(cases, drawn(cases, row)).items():
            assert found[name][place] == pytest.approx(value, abs=1e-12), name


def test_a_draw_without_a_class_has_only_metrics_that_need_none():
    rows = two_class_table([(0, "a", "ASD", 0.9), (0, "b", "ASD", 0.4), (0, "c", "non-ASD", 0.2)])
    cases = Cases(rows, CLASSES, "ASD", {0: 0.5})
    only_positive = np.array([[1.0, 1.0, 0.0]])
    values = metric_draws(cases, only_positive)
    defined = {name for name, value in values.items() if np.isfinite(value[0])}
    assert {"accuracy", "sensitivity", "f1", "brier"} <= defined
    assert not {"auroc", "specificity", "balanced_accuracy", "kappa", "mcc"} & defined


def test_a_draw_of_nobody_has_no_metric():
    """Of few patients, who need not all be in a split, some draws take none that are."""
    rows = two_class_table([(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.2)])
    values = metric_draws(Cases(rows, CLASSES, "ASD", {0: 0.5}), np.zeros((1, 2)))
    assert not any(np.isfinite(value[0]) for value in values.values())


def test_everything_called_one_class_has_no_correlation():
    rows = two_class_table([(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.8)])
    cases = Cases(rows, CLASSES, "ASD", {0: 0.5})
    once = np.ones((1, 2))
    assert metric_draws(cases, once)["mcc"] == 0
    assert metric_draws(cases, once)["kappa"] == 0


def test_many_clips_are_weighted_in_parts(monkeypatch):
    cases = Predictions(random_table(CLASSES, 20, 1.0), CLASSES, "ASD").cases("test", "clip")
    weights = draw_groups(cases, 40, seed=0)
    at_once = metric_draws(cases, weights)["auprc"]
    monkeypatch.setattr("asd_experiments.evaluation.ranking._CELLS_AT_ONCE", 100)
    assert metric_draws(cases, weights)["auprc"] == pytest.approx(at_once)
