"""How sure a curve is: pointwise intervals of the ROC and the precision-recall curve."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float

from asd_experiments.evaluation.bootstrap import draw_groups, group_numbers
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.curves import curve_classes
from asd_experiments.evaluation.ranking import last_of_equals

_GRID = np.linspace(0, 1, 101)
_Counts = Float[np.ndarray, " threshold"]


def roc_band(cases: Cases, *, num_resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Interval of the sensitivity at every 1 - specificity, from a bootstrap over groups.

    Groups are drawn as for the interval of the AUROC. The band is pointwise: at any one place it
    holds the curve in 95 % of repetitions, but the whole curve in fewer.

    Args:
        cases: Units of one split, over all folds. Three or more classes: one band per class,
            against the rest.
        num_resamples: Number of bootstrap draws.
        seed: Seed of the draws.

    Returns:
        Columns class, false_positive_rate (0 to 1 in steps of 0.01), ci_low and ci_high. There is
        no band where it would be false: where a class occurs in fewer than two groups, and for
        perfect separation, which no draw changes.
    """
    return _bands(cases, "false_positive_rate", _sensitivity, num_resamples, seed)


def precision_recall_band(
    cases: Cases, *, num_resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Interval of the precision at every recall; see `roc_band`.

    Returns:
        Columns class, recall, ci_low and ci_high.
    """
    return _bands(cases, "recall", _precision, num_resamples, seed)


def _bands(
    cases: Cases,
    along: str,
    height: Callable[[_Counts, _Counts], Float[np.ndarray, " place"]],
    num_resamples: int,
    seed: int,
) -> pd.DataFrame:
    weights = draw_groups(cases, num_resamples, seed)
    parts = [pd.DataFrame({"class": pd.Series(dtype=str), along: [], "ci_low": [], "ci_high": []})]
    for name in curve_classes(cases):
        if weights is not None and not _is_separated(cases, name):
            heights = [height(*counts) for counts in _counts_of_draws(cases, name, weights)]
            low, high = np.nanquantile(heights, [0.025, 0.975], axis=0)
            band = {"class": name, along: _GRID, "ci_low": low, "ci_high": high}
            parts.append(pd.DataFrame(band))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _is_separated(cases: Cases, name: str) -> bool:
    """Whether a class scores higher than the rest throughout, or lower."""
    index = cases.classes.index(name)
    scores, inside = cases.probabilities[:, index], cases.truth == index
    own, others = scores[inside], scores[~inside]
    return bool(own.min() > others.max() or own.max() < others.min())


def _counts_of_draws(
    cases: Cases, name: str, weights: Float[np.ndarray, "draw group"]
) -> Iterator[tuple[_Counts, _Counts]]:
    """True and false positives at every score, from the highest down, of every usable draw."""
    index = cases.classes.index(name)
    scores = cases.probabilities[:, index]
    order = np.argsort(-scores, kind="stable")
    inside, groups = (cases.truth == index)[order], group_numbers(cases)[order]
    last = last_of_equals(scores[order])
    for drawn in weights:
        weight = drawn[groups]
        found = np.cumsum(weight * inside)[last]
        wrong = np.cumsum(weight * ~inside)[last]
        if found[-1] > 0 and wrong[-1] > 0:
            yield found, wrong


def _sensitivity(found: _Counts, wrong: _Counts) -> Float[np.ndarray, " place"]:
    """Height of the ROC curve: its upper end where it climbs, a straight line where scores tie."""
    x = np.append(0.0, wrong / wrong[-1])
    y = np.append(0.0, found / found[-1])
    left = np.searchsorted(x, _GRID, side="right") - 1
    right = np.minimum(left + 1, len(x) - 1)
    width = np.where(x[right] > x[left], x[right] - x[left], 1.0)
    return np.asarray(y[left] + (y[right] - y[left]) * (_GRID - x[left]) / width)


def _precision(found: _Counts, wrong: _Counts) -> Float[np.ndarray, " place"]:
    """Height of the precision-recall curve: the precision where a recall is first reached."""
    called = found + wrong
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    first = np.searchsorted(found / found[-1], np.maximum(_GRID, 1e-9), side="left")
    return np.asarray(precision[first])
