"""From probability to decision: thresholds chosen on inner validation, applied to test."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from asd_experiments.evaluation.predictions import (
    Unit,
    class_probabilities,
    positive_index,
    select_units,
    true_classes,
)


class Threshold(NamedTuple):
    """A decision threshold and how it came about."""

    value: float
    """A case is positive when its score is at least this."""

    rule: Literal["youden", "single_class"]
    """youden: best on validation; single_class: validation held one class, so 0.5."""


def choose_threshold(
    labels: Bool[np.ndarray, " unit"], scores: Float[np.ndarray, " unit"]
) -> Threshold:
    """Choose the threshold with the highest Youden's J (sensitivity + specificity - 1).

    J is constant between two neighbouring scores, so the choice is between gaps, from 0 to the
    lowest score up to from the highest score to 1. Of the gaps with the highest J the widest is
    taken (the largest margin), of equally wide ones the one whose midpoint is nearest 0.5, then
    the lower; the threshold is its midpoint. A useless score (J of at most 0 everywhere between
    the scores) so ends in calling everything positive, or nothing.

    Args:
        labels: True for the positive class; inner validation only.
        scores: Probability of the positive class, 0 to 1.

    Raises:
        ValueError: If there is no case, or a score is not within 0 and 1.

    References:
        Youden 1950, https://doi.org/10.1002/1097-0142(1950)3:1%3C32::AID-CNCR2820030106%3E3.0.CO;2-3.
    """
    if labels.size == 0:
        raise ValueError("a threshold needs at least one validation case, got none")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(
            f"scores must lie between 0 and 1, got {scores.min():g} to {scores.max():g}"
        )
    if labels.all() or not labels.any():
        return Threshold(0.5, "single_class")
    edges = np.unique(np.concatenate([[0.0, 1.0], scores]))
    lower, upper = edges[:-1], edges[1:]
    width, middle = upper - lower, (lower + upper) / 2
    middle = np.where(middle > lower, middle, upper)  # neighbouring floats have no midpoint
    sensitivity = (scores[labels] >= middle[:, None]).mean(axis=1)
    specificity = (scores[~labels] < middle[:, None]).mean(axis=1)
    # Rounded, so that 1/3 + 2/3 and 2/3 + 1/3 tie.
    youden = np.round(sensitivity + specificity - 1, 9)
    best = np.lexsort((middle, np.round(abs(middle - 0.5), 9), -np.round(width, 9), -youden))[0]
    return Threshold(float(middle[best]), "youden")


def choose_thresholds(
    table: pd.DataFrame, classes: list[str], positive_class: str, unit: Unit = "patient"
) -> dict[int, Threshold]:
    """Choose one threshold per fold on its inner validation part.

    One threshold serves clips, videos and patients alike, and the patient is who gets diagnosed:
    it is chosen where every patient counts once.

    Args:
        table: Prediction table, one row per clip; test rows are not looked at.
        classes: All classes in their fixed order.
        positive_class: Which of two classes counts as positive.
        unit: What counts as one case.

    Returns:
        Threshold of every fold that has validation rows; empty for three or more classes, where
        the decision is the most probable class.
    """
    positive = positive_index(classes, positive_class)
    if positive is None:
        return {}
    rows = select_units(table, "val", unit)
    labels = true_classes(rows, classes) == positive
    scores = class_probabilities(rows, classes)[:, positive]
    folds = rows["fold"].to_numpy()
    return {
        int(fold): choose_threshold(labels[folds == fold], scores[folds == fold])
        for fold in np.unique(folds)
    }


def decide(
    rows: pd.DataFrame, classes: list[str], positive_class: str, thresholds: Mapping[int, float]
) -> Int[np.ndarray, " unit"]:
    """Class decided for every row, as an index into `classes`.

    Args:
        rows: Units of one split, from `select_units`.
        classes: All classes in their fixed order.
        positive_class: Which of two classes counts as positive.
        thresholds: Threshold of every fold; each row is judged by its own fold's. Not used for
            three or more classes: the most probable class is taken.

    Raises:
        ValueError: If a fold has no threshold.
    """
    probabilities = class_probabilities(rows, classes)
    positive = positive_index(classes, positive_class)
    if positive is None:
        return decided(probabilities, None, None)
    if missing := sorted({int(fold) for fold in rows["fold"]} - set(thresholds)):
        raise ValueError(f"every fold needs a threshold, fold {missing[0]} has none")
    threshold = np.array([thresholds[int(fold)] for fold in rows["fold"]], dtype=np.float64)
    return decided(probabilities, positive, threshold)


def decided(
    probabilities: Float[np.ndarray, "unit num_classes"],
    positive: int | None,
    threshold: Float[np.ndarray, " unit"] | float | None,
) -> Int[np.ndarray, " unit"]:
    """Class decided for every unit, as an index: by the threshold, else the most probable one.

    Args:
        probabilities: Of every class.
        positive: Index of the positive class of two.
        threshold: From which probability of it on a unit is positive.
    """
    if positive is None or threshold is None:
        return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
    return np.where(probabilities[:, positive] >= threshold, positive, 1 - positive)
