"""Points of the ROC and precision-recall curves, as tables."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from sklearn.metrics import precision_recall_curve, roc_curve

from asd_experiments.evaluation.cases import Cases

POOLED = "pooled"
"""In the column `fold` of a curve: the cases of all folds together."""


def roc_points(cases: Cases) -> pd.DataFrame:
    """Corners of the ROC curve of every fold and of all folds pooled.

    Args:
        cases: Units of one split. Three or more classes: one curve per class, against the rest.

    Returns:
        Columns fold (text: the number or `pooled`), class, false_positive_rate,
        true_positive_rate, threshold (positive at or above it; infinite where nothing is), from
        the highest threshold down. A fold that lacks the class or its rest has no curve.
    """
    parts = []
    for fold, name, labels, scores in _one_against_rest(cases):
        x, y, threshold = roc_curve(labels, scores, drop_intermediate=False)
        points = {"false_positive_rate": x, "true_positive_rate": y, "threshold": threshold}
        parts.append(pd.DataFrame({"fold": fold, "class": name, **points}))
    return _joined(parts, ["false_positive_rate", "true_positive_rate", "threshold"])


def precision_recall_points(cases: Cases) -> pd.DataFrame:
    """Corners of the precision-recall curve of every fold and of all folds pooled.

    Args:
        cases: Units of one split. Three or more classes: one curve per class, against the rest.

    Returns:
        Columns fold (text: the number or `pooled`), class, recall, precision, threshold, from the
        highest threshold down. The first point (recall 0, precision 1, infinite threshold) stands
        for no case called positive, by convention.
    """
    parts = []
    for fold, name, labels, scores in _one_against_rest(cases):
        precision, recall, threshold = precision_recall_curve(labels, scores)
        points = {
            "recall": recall[::-1],
            "precision": precision[::-1],
            "threshold": np.append(threshold, np.inf)[::-1],
        }
        parts.append(pd.DataFrame({"fold": fold, "class": name, **points}))
    return _joined(parts, ["recall", "precision", "threshold"])


def curve_classes(cases: Cases) -> list[str]:
    """Classes that have a curve of their own: the positive one of two, each of three or more."""
    return cases.classes if cases.positive is None else [cases.positive_class]


def _one_against_rest(
    cases: Cases,
) -> Iterator[tuple[str, str, Bool[np.ndarray, " unit"], Float[np.ndarray, " unit"]]]:
    """Fold, class, labels and scores of every curve that is defined, pooled ones last."""
    folds = {str(fold): own for fold, own in cases.by_fold()}
    for fold, own in {**folds, POOLED: cases}.items():
        for name in curve_classes(cases):
            index = cases.classes.index(name)
            labels = own.truth == index
            if labels.any() and not labels.all():
                yield fold, name, labels, own.probabilities[:, index]


def _joined(parts: list[pd.DataFrame], numbers: list[str]) -> pd.DataFrame:
    empty = pd.DataFrame({"fold": [], "class": []}, dtype=str).assign(
        **{name: np.empty(0) for name in numbers}
    )
    return pd.concat(parts, ignore_index=True) if parts else empty
