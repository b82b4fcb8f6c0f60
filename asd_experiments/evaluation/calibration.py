"""Does a probability of 0.8 come true in 80 % of the cases?"""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import binomtest

from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.curves import curve_classes

NUM_BINS = 5
"""Bins of a reliability curve: with 81 patients each then holds about 16."""


def calibration_points(cases: Cases) -> pd.DataFrame:
    """Points of the reliability curve, over all folds together.

    Cases are sorted by their probability and cut into bins of equal size; cases with the same
    probability stay together.

    Args:
        cases: Units of one split. Three or more classes: one curve per class, against the rest.

    Returns:
        Columns class, mean_probability, observed_share, ci_low, ci_high (95 %, Wilson; it takes
        cases for independent, so for clips and videos it is too narrow) and count.
    """
    points = []
    for name in curve_classes(cases):
        index = cases.classes.index(name)
        scores, hits = cases.probabilities[:, index], cases.truth == index
        inner_edges = np.quantile(scores, np.arange(1, NUM_BINS) / NUM_BINS)
        bins = np.searchsorted(inner_edges, scores)
        for number in np.unique(bins):
            inside = bins == number
            count = int(inside.sum())
            interval = binomtest(int(hits[inside].sum()), count).proportion_ci(method="wilson")
            points.append(
                {
                    "class": name,
                    "mean_probability": scores[inside].mean(),
                    "observed_share": hits[inside].mean(),
                    "ci_low": interval.low,
                    "ci_high": interval.high,
                    "count": count,
                }
            )
    return pd.DataFrame(points)


def brier_score(
    truth: Int[np.ndarray, " unit"], probabilities: Float[np.ndarray, "unit num_classes"]
) -> float:
    """Mean squared error of the probabilities: 0 is perfect, 0.25 is what 0.5 always gets.

    With two classes it is that of one class (they are equal), with more the sum over the classes.

    References:
        Brier 1950, https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2.
    """
    num_classes = probabilities.shape[1]
    squared = (probabilities - np.eye(num_classes)[truth]) ** 2
    return float(squared.sum(axis=1).mean()) / (2 if num_classes == 2 else 1)
