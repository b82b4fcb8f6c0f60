"""How sure the metrics of one split and unit are: every interval that is logged."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Float

from asd_experiments.evaluation.bca import bca_interval, with_observed
from asd_experiments.evaluation.bootstrap import (
    NUM_RESAMPLES,
    classes_of_groups,
    draw_groups,
    group_numbers,
)
from asd_experiments.evaluation.calibration import squared_errors
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.interval import Interval, check_level
from asd_experiments.evaluation.proportions import likelihood_ratio_intervals, wilson_interval
from asd_experiments.evaluation.ranking import ranking_draws, separated_intervals
from asd_experiments.evaluation.rates import Confusions, confusions_of_groups, proportions, rates

_NO_ESTIMATE = "majority_accuracy"
"""What the cases' classes alone decide; draws within the classes do not change it."""


def metric_intervals(
    cases: Cases,
    *,
    ranking: Collection[str] = ("auroc", "auprc"),
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Compute the intervals of the metrics of decisions, of ranking and of the Brier score.

    Where every group has one case (patients, as a rule), cases are independent: shares of cases
    have Wilson's interval and likelihood ratios the log method's. Everything else, and these too
    where groups have several cases, has the corrected percentiles of one bootstrap over groups.

    A share of 0 or 1 does not vary when groups are drawn: it has Wilson's interval with the number
    of groups it is made of as the number of cases. AUROC and AUPRC of separated classes have
    those of `separated_intervals`. What else does not vary has no interval.

    The intervals tell how a metric varies with the patients tested, not with those trained on.

    Args:
        cases: Units of one split.
        ranking: Metrics of ranking to compute intervals of.
        level: Confidence level, between 0 and 1.
        num_resamples: Number of bootstrap draws.
        seed: Seed of the draws.

    Returns:
        Intervals by metric; a metric without one is left out.

    Raises:
        ValueError: If the level is not between 0 and 1 or there is not one draw.
    """
    check_level(level)
    weights = draw_groups(cases, num_resamples, seed)
    matrices = confusions_of_groups(cases)
    independent = len(matrices.counts) == len(cases)
    intervals = {}
    if weights is not None:
        holds = classes_of_groups(cases)
        for name, values in metric_draws(cases, with_observed(weights), ranking).items():
            interval = bca_interval(values, holds, level)
            if interval is not None and name != _NO_ESTIMATE:
                intervals[name] = interval
        intervals |= separated_intervals(cases, level)
        if not independent:
            intervals |= _unvaried(matrices, level)
    if independent:
        for name in ("lr_positive", "lr_negative"):
            intervals.pop(name, None)
        intervals |= _of_independent(matrices, level)
    return intervals


def metric_draws(
    cases: Cases,
    weights: Float[np.ndarray, "draw group"],
    ranking: Collection[str] = ("auroc", "auprc"),
) -> dict[str, Float[np.ndarray, " draw"]]:
    """Compute the metrics of decisions, of ranking and the Brier score in every draw of groups.

    Args:
        cases: Units of one split.
        weights: How often each group is in each draw, from `draw_groups`.
        ranking: Metrics of ranking to compute.

    Returns:
        The metrics of every draw; nan where the draw lacks a class that the metric needs.
    """
    groups, num_groups = group_numbers(cases), weights.shape[1]
    errors = np.bincount(groups, squared_errors(cases.truth, cases.probabilities), num_groups)
    sizes = np.bincount(groups, minlength=num_groups)
    with np.errstate(invalid="ignore"):  # a draw of groups that have nothing in this split
        brier = (weights @ errors) / (weights @ sizes)
    return {
        **rates(confusions_of_groups(cases).weighted(weights)),
        **ranking_draws(cases, weights, ranking),
        "brier": brier,
    }


def _of_independent(matrices: Confusions, level: float) -> dict[str, Interval]:
    pooled = matrices.weighted(np.ones((1, len(matrices.counts))))
    intervals = {
        name: wilson_interval(int(part.hits[0]), int(part.total[0]), level)
        for name, part in proportions(pooled).items()
        if part.total[0] > 0
    }
    if pooled.positive is None:
        return intervals
    counts, yes, no = pooled.counts[0].astype(int), pooled.positive, 1 - pooled.positive
    ratios = likelihood_ratio_intervals(
        true_positive=int(counts[yes, yes]),
        false_positive=int(counts[no, yes]),
        false_negative=int(counts[yes, no]),
        true_negative=int(counts[no, no]),
        level=level,
    )
    named = {"lr_positive": ratios.positive, "lr_negative": ratios.negative}
    return intervals | {name: i for name, i in named.items() if i is not None}


def _unvaried(matrices: Confusions, level: float) -> dict[str, Interval]:
    """Shares of 0 and 1, with groups counted as cases."""
    intervals = {}
    for name, part in proportions(matrices).items():
        hits, total = part.hits.sum(), part.total.sum()
        if total > 0 and hits in (0, total):
            num_groups = int((part.total > 0).sum())
            intervals[name] = wilson_interval(num_groups if hits else 0, num_groups, level)
    return intervals
