"""Points of the ROC and precision-recall curves, as tables."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from sklearn.metrics import precision_recall_curve, roc_curve

from asd_experiments.evaluation.predictions import (
    class_probabilities,
    positive_index,
    true_classes,
)

POOLED = "pooled"
"""In the column `fold` of a curve: the cases of all folds together."""


def roc_points(rows: pd.DataFrame, classes: list[str], positive_class: str) -> pd.DataFrame:
    """Corners of the ROC curve of every fold and of all folds pooled.

    Args:
        rows: Units of one split, from `select_units`.
        classes: All classes in their fixed order.
        positive_class: Which of two classes counts as positive. Three or more classes: one curve
            per class, against the rest.

    Returns:
        Columns fold (text: the number or `pooled`), class, false_positive_rate,
        true_positive_rate, threshold (positive at or above it; infinite where nothing is), from
        the highest threshold down. A fold that lacks the class or its rest has no curve.
    """
    parts = []
    for fold, name, labels, scores in _one_against_rest(rows, classes, positive_class):
        x, y, threshold = roc_curve(labels, scores, drop_intermediate=False)
        points = {"false_positive_rate": x, "true_positive_rate": y, "threshold": threshold}
        parts.append(pd.DataFrame({"fold": fold, "class": name, **points}))
    return _joined(parts, ["false_positive_rate", "true_positive_rate", "threshold"])


def precision_recall_points(
    rows: pd.DataFrame, classes: list[str], positive_class: str
) -> pd.DataFrame:
    """Corners of the precision-recall curve of every fold and of all folds pooled.

    Args:
        rows: Units of one split, from `select_units`.
        classes: All classes in their fixed order.
        positive_class: Which of two classes counts as positive. Three or more classes: one curve
            per class, against the rest.

    Returns:
        Columns fold (text: the number or `pooled`), class, recall, precision, threshold, from the
        highest threshold down. The first point (recall 0, precision 1, infinite threshold) stands
        for no case called positive, by convention.
    """
    parts = []
    for fold, name, labels, scores in _one_against_rest(rows, classes, positive_class):
        precision, recall, threshold = precision_recall_curve(labels, scores)
        points = {
            "recall": recall[::-1],
            "precision": precision[::-1],
            "threshold": np.append(threshold, np.inf)[::-1],
        }
        parts.append(pd.DataFrame({"fold": fold, "class": name, **points}))
    return _joined(parts, ["recall", "precision", "threshold"])


def curve_classes(classes: list[str], positive_class: str) -> list[str]:
    """Classes that have a curve of their own: the positive one of two, each of three or more."""
    positive = positive_index(classes, positive_class)
    return classes if positive is None else [classes[positive]]


def _one_against_rest(
    rows: pd.DataFrame, classes: list[str], positive_class: str
) -> Iterator[tuple[str, str, Bool[np.ndarray, " unit"], Float[np.ndarray, " unit"]]]:
    """Fold, class, labels and scores of every curve that is defined, pooled ones last."""
    truth, probabilities = true_classes(rows, classes), class_probabilities(rows, classes)
    folds = rows["fold"].to_numpy()
    members = {str(fold): folds == fold for fold in np.unique(folds)}
    members[POOLED] = np.ones(len(rows), dtype=bool)
    for fold, inside in members.items():
        for name in curve_classes(classes, positive_class):
            index = classes.index(name)
            labels = truth[inside] == index
            if labels.any() and not labels.all():
                yield fold, name, labels, probabilities[inside, index]


def _joined(parts: list[pd.DataFrame], numbers: list[str]) -> pd.DataFrame:
    empty = pd.DataFrame({"fold": [], "class": []}, dtype=str).assign(
        **{name: np.empty(0) for name in numbers}
    )
    return pd.concat(parts, ignore_index=True) if parts else empty
