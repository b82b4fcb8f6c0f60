"""A metric of several trials, with draws of patients that are the same for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from asd_experiments.evaluation.bootstrap import (
    classes_of_groups,
    draw_groups,
    percentile_interval,
)
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.interval import Interval
from asd_experiments.evaluation.uncertainty import metric_draws, metric_intervals

_LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is."""

    value: float

    interval: Interval | None
    """95 %, of the patients; None where too few of them tell."""

    p: float | None = None
    """Two-sided p value of "it is 0", of a difference."""


@dataclass(frozen=True)
class Sampled:
    """A metric of several trials, observed and drawn.

    Every draw takes the same groups of patients for all trials, so that differences and means are
    those of one imagined cohort.
    """

    observed: Float[np.ndarray, " trial"]
    draws: Float[np.ndarray, "trial draw"]

    intervals: Sequence[Interval | None]
    """Of every trial by itself, as its own run has it."""

    def estimate(self, members: Sequence[int]) -> Estimate:
        """Mean over some trials; of a single one, its figure and its own interval."""
        chosen = np.asarray(members)
        if len(chosen) == 1:
            return Estimate(float(self.observed[chosen[0]]), self.intervals[chosen[0]])
        return estimate_of(self.observed[chosen].mean(), self.draws[chosen].mean(axis=0))

    def difference(self, members: Sequence[int], others: Sequence[int]) -> Estimate:
        """Mean over some trials minus mean over others."""
        chosen, reference = np.asarray(members), np.asarray(others)
        value = self.observed[chosen].mean() - self.observed[reference].mean()
        draws = self.draws[chosen].mean(axis=0) - self.draws[reference].mean(axis=0)
        estimate = estimate_of(value, draws)
        return Estimate(estimate.value, estimate.interval, _p_of(draws[np.isfinite(draws)]))


def sample(trials: Sequence[Cases], metrics: Sequence[str], *, seed: int = 0) -> dict[str, Sampled]:
    """Compute metrics of trials that tested the same patients.

    Args:
        trials: Units of one split of every trial; groups and their classes are the same in all.
        metrics: Of `comparison.COMPARED_METRICS`.
        seed: Seed of the draws.
    """
    first = trials[0]
    once = np.ones((1, len(classes_of_groups(first))))
    weights = draw_groups(first, seed=seed)
    rows = once if weights is None else np.vstack([once, weights])
    drawn = [metric_draws(cases, rows, metrics) for cases in trials]
    intervals = [metric_intervals(cases, seed=seed) for cases in trials]
    return {
        metric: Sampled(
            np.array([values[metric][0] for values in drawn]),
            np.array([values[metric][1:] for values in drawn]),
            [own.get(metric) for own in intervals],
        )
        for metric in metrics
    }


def estimate_of(value: float, draws: Float[np.ndarray, " draw"]) -> Estimate:
    """A figure with its interval from draws; without one where it never varies."""
    return Estimate(float(value), percentile_interval(draws, _LEVEL))


def _p_of(draws: Float[np.ndarray, " draw"]) -> float | None:
    """Twice the share of draws on the rarer side of 0; None where they never vary.

    References:
        Davison and Hinkley 1997, section 4.4, https://doi.org/10.1017/CBO9780511802843.
    """
    if draws.size == 0 or np.ptp(draws) == 0:
        return None
    side = min((draws <= 0).sum(), (draws >= 0).sum())
    return float(min(1.0, 2 * (side + 1) / (draws.size + 1)))
