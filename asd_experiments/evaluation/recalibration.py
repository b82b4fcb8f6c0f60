"""Are probabilities too extreme, or too high on the whole? Slope and intercept of calibration."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize
from scipy.special import expit, logit

from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.predictions import LOWEST_PROBABILITY


def recalibration(cases: Cases) -> dict[str, float]:
    """Compute `calibration_slope` and `calibration_intercept`, where they are defined.

    The slope is that of a logistic regression of the truth on the logit of the probability: 1 is
    right, below 1 the probabilities are too extreme, above 1 too moderate. The intercept is
    calibration in the large: that of the same regression with its slope held at 1; 0 is right,
    below 0 the probabilities are too high on the whole.

    With two classes they are of the positive one. With three or more they are means of one class
    against the rest, each class by itself, which need every class.

    References:
        Van Calster et al. 2019, https://doi.org/10.1186/s12916-019-1466-7.
        Cox 1958, https://doi.org/10.1093/biomet/45.3-4.562.
    """
    classes = range(len(cases.classes)) if cases.positive is None else [cases.positive]
    parts = [(cases.truth == index, cases.probabilities[:, index]) for index in classes]
    found = {
        "calibration_slope": [calibration_slope(labels, scores) for labels, scores in parts],
        "calibration_intercept": [calibration_in_the_large(*part) for part in parts],
    }
    return {
        name: float(np.mean([value for value in values if value is not None]))
        for name, values in found.items()
        if None not in values
    }


def calibration_slope(
    labels: Bool[np.ndarray, " unit"], scores: Float[np.ndarray, " unit"]
) -> float | None:
    """Slope of the logistic regression of labels on the logit of scores.

    Returns:
        The slope; None where the scores separate the labels, a class is missing or all scores are
        the same: then no slope is the most likely.

    References:
        Albert and Anderson 1984 (where there is a maximum), https://doi.org/10.1093/biomet/71.1.1.
    """
    if labels.all() or not labels.any():
        return None
    x = _logits(scores)
    positive, negative = x[labels], x[~labels]
    if positive.min() >= negative.max() or negative.min() >= positive.max():
        return None
    centre, scale = x.mean(), x.std()
    z = (x - centre) / scale

    def loss(line: Float[np.ndarray, " 2"]) -> tuple[float, Float[np.ndarray, " 2"]]:
        fitted = line[0] + line[1] * z
        residual = expit(fitted) - labels
        value = (np.logaddexp(0, fitted) - labels * fitted).mean()
        return float(value), np.array([residual.mean(), (residual * z).mean()])

    best = optimize.minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-8})
    return float(best.x[1] / scale)


def calibration_in_the_large(
    labels: Bool[np.ndarray, " unit"], scores: Float[np.ndarray, " unit"]
) -> float | None:
    """Shift of all logits with which as many positives are expected as there are.

    Returns:
        The shift; None where a class is missing.
    """
    if labels.all() or not labels.any():
        return None
    x = _logits(scores)

    def surplus(shift: float) -> float:
        return float((expit(x + shift) - labels).sum())

    reach = float(np.abs(x).max()) + np.log(len(x)) + 1  # beyond it the sum's sign is settled
    return float(optimize.brentq(surplus, -reach, reach))


def _logits(scores: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
    return np.asarray(logit(np.clip(scores, LOWEST_PROBABILITY, 1 - LOWEST_PROBABILITY)))
