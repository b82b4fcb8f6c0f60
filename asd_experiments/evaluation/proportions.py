"""Proportions of independent cases, and the likelihood ratios made of two of them."""

import math
from typing import NamedTuple

from scipy.stats import binomtest, norm

from asd_experiments.evaluation.interval import Interval, check_level


class LikelihoodRatios(NamedTuple):
    """Intervals of the likelihood ratios; None where a cell that one needs is empty."""

    positive: Interval | None
    negative: Interval | None


def wilson_interval(hits: int, total: int, level: float = 0.95) -> Interval:
    """Interval of a proportion by Wilson's score method.

    It stays within 0 and 1 and holds its level with few cases, where the textbook's does not.

    Args:
        hits: Cases that count.
        total: All cases, at least one.
        level: Confidence level, between 0 and 1.

    Raises:
        ValueError: If the level or the counts are out of range.

    References:
        Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953.
        Newcombe 1998, method 3, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8%3C857::AID-SIM777%3E3.0.CO;2-E.
    """
    check_level(level)
    interval = binomtest(hits, total).proportion_ci(level, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def likelihood_ratio_intervals(
    *,
    true_positive: int,
    false_positive: int,
    false_negative: int,
    true_negative: int,
    level: float = 0.95,
) -> LikelihoodRatios:
    """Intervals of the likelihood ratios of a positive and a negative answer, on the log scale.

    Args:
        true_positive: Positive cases that were called positive.
        false_positive: Negative cases that were called positive.
        false_negative: Positive cases that were called negative.
        true_negative: Negative cases that were called negative.
        level: Confidence level, between 0 and 1.

    Raises:
        ValueError: If the level is not between 0 and 1.

    References:
        Simel, Samsa and Matchar 1991, https://doi.org/10.1016/0895-4356(91)90128-V.
    """
    check_level(level)
    positive, negative = true_positive + false_negative, false_positive + true_negative
    return LikelihoodRatios(
        _ratio_interval(true_positive, positive, false_positive, negative, level),
        _ratio_interval(false_negative, positive, true_negative, negative, level),
    )


def _ratio_interval(
    part: int, whole: int, other_part: int, other_whole: int, level: float
) -> Interval | None:
    if part == 0 or other_part == 0:
        return None
    centre = math.log(part / whole) - math.log(other_part / other_whole)
    spread = math.sqrt(1 / part - 1 / whole + 1 / other_part - 1 / other_whole)
    reach = float(norm.ppf((1 + level) / 2)) * spread
    return Interval(math.exp(centre - reach), math.exp(centre + reach))
