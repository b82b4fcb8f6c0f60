"""Does a probability of 0.8 come true in 80 % of the cases?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.curves import curve_classes
from asd_experiments.evaluation.interval import Interval
from asd_experiments.evaluation.proportions import wilson_interval

_NO_INTERVAL = Interval(np.nan, np.nan)

NUM_BINS = 5
"""Bins of a reliability curve: with 81 patients each then holds about 16."""


def calibration_points(cases: Cases) -> pd.DataFrame:
    """Points of the reliability curve, over all folds together.

    Cases are sorted by their probability and cut into bins of equal size; cases with the same
    probability stay together.

    Args:
        cases: Units of one split. Three or more classes: one curve per class, against the rest.

    Returns:
        Columns class, mean_probability, observed_share, ci_low, ci_high (95 %, Wilson; nan where
        groups have several cases, which are not independent) and count.
    """
    independent = not cases.rows["group"].duplicated().any()
    points = []
    for name, scores, hits in _bins(cases):
        interval = wilson_interval(int(hits.sum()), len(hits)) if independent else _NO_INTERVAL
        points.append(
            {
                "class": name,
                "mean_probability": scores.mean(),
                "observed_share": hits.mean(),
                "ci_low": interval.low,
                "ci_high": interval.high,
                "count": len(hits),
            }
        )
    return pd.DataFrame(points)


def expected_calibration_error(cases: Cases) -> float:
    """Mean distance between probability and observed share over the bins of the curve.

    Bins count by their cases. With three or more classes it is the mean over the curves.

    Args:
        cases: Units of one split, at least one.

    References:
        Naeini et al. 2015, https://doi.org/10.1609/aaai.v29i1.9602; bins of equal size: Nixon et
        al. 2019, https://arxiv.org/abs/1904.01685; the mean over classes: Kull et al. 2019,
        https://arxiv.org/abs/1910.12656.
    """
    gaps = [abs(scores.mean() - hits.mean()) * len(hits) for _, scores, hits in _bins(cases)]
    return float(np.sum(gaps)) / len(cases) / len(curve_classes(cases))


def brier_score(
    truth: Int[np.ndarray, " unit"], probabilities: Float[np.ndarray, "unit num_classes"]
) -> float:
    """Mean squared error of the probabilities: 0 is perfect, 0.25 is what 0.5 always gets.

    With two classes it is that of one class (they are equal), with more the sum over the classes.

    References:
        Brier 1950, https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2.
    """
    return float(squared_errors(truth, probabilities).mean())


def squared_errors(
    truth: Int[np.ndarray, " unit"], probabilities: Float[np.ndarray, "unit num_classes"]
) -> Float[np.ndarray, " unit"]:
    """What every case adds to the Brier score."""
    num_classes = probabilities.shape[1]
    squared = (probabilities - np.eye(num_classes)[truth]) ** 2
    return np.asarray(squared.sum(axis=1) / (2 if num_classes == 2 else 1))


def _bins(
    cases: Cases,
) -> Iterator[tuple[str, Float[np.ndarray, " unit"], Bool[np.ndarray, " unit"]]]:
    """Class, probabilities and hits of every bin of every curve."""
    for name in curve_classes(cases):
        index = cases.classes.index(name)
        scores, hits = cases.probabilities[:, index], cases.truth == index
        inner_edges = np.quantile(scores, np.arange(1, NUM_BINS) / NUM_BINS)
        bins = np.searchsorted(inner_edges, scores)
        for number in np.unique(bins):
            yield name, scores[bins == number], hits[bins == number]
