"""Temperature scaling: probabilities made as sure of themselves as inner validation bears out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import optimize
from scipy.special import log_softmax, softmax

from asd_experiments.evaluation.cases import Cases, Predictions
from asd_experiments.evaluation.predictions import (
    LOWEST_PROBABILITY,
    class_probabilities,
    probability_columns,
)

LOWEST, HIGHEST = 0.1, 10.0
"""Range of the temperature: a dozen patients that happen to be separated would make it 0."""


class Temperature(NamedTuple):
    """A fitted temperature."""

    value: float
    """Logits are divided by it: above 1 the network was too sure, below 1 not sure enough."""

    at_bound: bool
    """Whether an end of its range was the best: the patients did not determine it."""


def fit_temperature(
    truth: Int[np.ndarray, " unit"], probabilities: Float[np.ndarray, "unit num_classes"]
) -> Temperature:
    """Find the temperature with the lowest mean log loss.

    Every case counts the same: probabilities are to come true as often as they say.

    Args:
        truth: True class of every case; inner validation only.
        probabilities: Probability of every class.

    Raises:
        ValueError: If there is no case.

    References:
        Guo et al. 2017, section 4.2, https://arxiv.org/abs/1706.04599.
    """
    if len(truth) == 0:
        raise ValueError("a temperature needs at least one validation case, got none")
    logits, ends = (
        np.log(np.clip(probabilities, LOWEST_PROBABILITY, 1.0)),
        np.log([LOWEST, HIGHEST]),
    )

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scaled[np.arange(len(truth)), truth].mean())

    best = optimize.minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6})
    nearest = int(np.abs(ends - best.x).argmin())
    if loss(ends[nearest]) <= best.fun:  # the search comes close to an end, never to it
        return Temperature((LOWEST, HIGHEST)[nearest], at_bound=True)
    return Temperature(float(np.exp(best.x)), at_bound=False)


def fit_temperatures(predictions: Predictions) -> dict[int, Temperature]:
    """Fit the temperature of every fold on its inner validation patients, each counted once."""
    folds = predictions.cases("val", "patient").by_fold()
    return {fold: fit_temperature(own.truth, own.probabilities) for fold, own in folds}


def scaled(cases: Cases, temperatures: Mapping[int, Temperature]) -> Cases:
    """The cases with their probabilities at the temperature of their own fold.

    The thresholds are not scaled with them: for decisions take the cases as they were.

    Args:
        cases: Units of one split.
        temperatures: Temperature of every fold.

    Raises:
        ValueError: If a fold has no temperature.
    """
    values = {fold: temperature.value for fold, temperature in temperatures.items()}
    columns = probability_columns(cases.classes)
    probabilities = calibrated(cases.rows, cases.classes, values).T
    rows = cases.rows.assign(**dict(zip(columns, probabilities, strict=True)))
    return replace(cases, rows=rows)


def calibrated(
    rows: pd.DataFrame, classes: list[str], temperatures: Mapping[int, float]
) -> Float[np.ndarray, "unit num_classes"]:
    """Probability of every class, each row's at the temperature of its own fold.

    Args:
        rows: With the columns fold and `probability_<class>`.
        classes: All classes in their fixed order.
        temperatures: Temperature of every fold.

    Raises:
        ValueError: If a fold has no temperature.
    """
    folds = [int(fold) for fold in rows["fold"]]
    if missing := sorted(set(folds) - set(temperatures)):
        raise ValueError(f"every fold needs a temperature, fold {missing[0]} has none")
    own = np.array([temperatures[fold] for fold in folds], dtype=np.float64)
    return at_temperature(class_probabilities(rows, classes), own)


def at_temperature(
    probabilities: Float[np.ndarray, "unit num_classes"], temperature: Float[np.ndarray, " unit"]
) -> Float[np.ndarray, "unit num_classes"]:
    """Probabilities as they are at a temperature.

    Of two classes the order of all cases stays, so a threshold that is scaled like a probability
    decides as it did.

    Args:
        probabilities: Of every class, as a network gives them.
        temperature: What the logits of every case are divided by.
    """
    logits = np.log(np.clip(probabilities, LOWEST_PROBABILITY, 1.0))
    return np.asarray(softmax(logits / temperature[:, None], axis=1))
