"""A metric of several trials, with draws of patients that are the same for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from asd_experiments.evaluation.bca import bca_interval, with_observed
from asd_experiments.evaluation.bootstrap import (
    NUM_RESAMPLES,
    classes_of_groups,
    draw_groups,
    percentile_interval,
)
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.comparison import delong, mcnemar
from asd_experiments.evaluation.interval import Interval
from asd_experiments.evaluation.metrics import METRICS
from asd_experiments.evaluation.uncertainty import metric_draws, metric_intervals

_LEVEL = 0.95
_DRAWS_PER_TRIAL = 100
"""So that p, which cannot fall below 2 in the number of draws, stays small after Holm."""

_SAME = 1e-12  # rounding errors of sums in another order

Shares = Mapping[int, float]
"""How much each trial counts in a mean, by its index; they add up to 1."""


@dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is."""

    value: float

    interval: Interval | None
    """95 %, of the patients; None where too few of them tell."""

    p: float | None = None
    """Two-sided p value of "it is 0", of a difference."""

    test: str = ""
    """Which test `p` is of."""


@dataclass(frozen=True)
class Sampled:
    """A metric of several trials, observed and drawn.

    Every draw takes the same groups of patients for all trials, so that differences and means are
    those of one imagined cohort.
    """

    values: Float[np.ndarray, "trial row"]
    """Of all groups, without each group, and in every draw: see `bca.with_observed`."""

    holds: Bool[np.ndarray, "group num_classes"]
    """Which classes occur in each group."""

    intervals: Sequence[Interval | None]
    """Of every trial by itself, as its own run has it."""

    @property
    def observed(self) -> Float[np.ndarray, " trial"]:
        """The metric of every trial."""
        return self.values[:, 0]

    def estimate(self, shares: Shares) -> Estimate:
        """Mean over some trials; of a single one, its figure and its own interval."""
        if len(shares) == 1:
            (trial,) = shares
            return Estimate(float(self.observed[trial]), self.intervals[trial])
        mean = self._mean(shares)
        return Estimate(float(mean[0]), bca_interval(mean, self.holds, _LEVEL))

    def difference(self, shares: Shares, others: Shares, level: float = _LEVEL) -> Estimate:
        """Mean over some trials minus mean over others.

        The limits are percentiles, as those of `comparison.difference`.
        """
        apart = self._mean(shares) - self._mean(others)
        draws = apart[len(self.holds) + 1 :]
        draws = draws[np.isfinite(draws)]
        if draws.size == 0 or np.ptp(draws) < _SAME:  # what never varies tells nothing
            return Estimate(float(apart[0]), None)
        interval = percentile_interval(draws, level)
        return Estimate(float(apart[0]), interval, _p_of(draws), "paired bootstrap")

    def _mean(self, shares: Shares) -> Float[np.ndarray, " row"]:
        weights = np.array(list(shares.values()))
        return np.asarray(weights @ self.values[list(shares)])


def equally(trials: Sequence[int]) -> Shares:
    """The same share for each of some trials."""
    return {trial: 1 / len(trials) for trial in trials}


def goodness(metric: str, value: float) -> float:
    """A figure the greater the better it is; an undefined one is worst."""
    if np.isnan(value):
        return -np.inf
    return -value if METRICS[metric] == "minimize" else value


def rows_of_draws(
    cases: Cases, num_draws: int = NUM_RESAMPLES, seed: int = 0
) -> Float[np.ndarray, "row group"]:
    """Weights of groups as `Sampled.values` has them; no draw where too few hold a class."""
    weights = draw_groups(cases, num_draws, seed)
    none = np.empty((0, len(classes_of_groups(cases))))
    return with_observed(none if weights is None else weights)


def sample(trials: Sequence[Cases], metrics: Sequence[str], *, seed: int = 0) -> dict[str, Sampled]:
    """Compute metrics of trials that tested the same patients.

    Args:
        trials: Units of one split of every trial; groups and their classes are the same in all.
        metrics: Of `comparison.COMPARED_METRICS`.
        seed: Seed of the draws.
    """
    holds = classes_of_groups(trials[0])
    num_draws = max(NUM_RESAMPLES, _DRAWS_PER_TRIAL * len(trials))
    rows = rows_of_draws(trials[0], num_draws, seed)
    drawn = [metric_draws(cases, rows, metrics) for cases in trials]
    intervals = [metric_intervals(cases, ranking=metrics, seed=seed) for cases in trials]
    return {
        metric: Sampled(
            np.array([values[metric] for values in drawn]),
            holds,
            [own.get(metric) for own in intervals],
        )
        for metric in metrics
    }


def tested(drawn: Estimate, cases: Cases, reference: Cases, metric: str) -> Estimate:
    """A difference between two trials with the p value of the metric's own test.

    That is DeLong's of AUROC and McNemar's of accuracy. Other metrics, and cases for which the
    test cannot be done (McNemar's on the many clips of a patient), keep that of the draws.

    Args:
        drawn: The difference.
        cases: Units of the trial.
        reference: Those of the other one.
        metric: What they differ in.
    """
    if metric not in ("auroc", "accuracy"):
        return drawn
    test, name = (delong, "DeLong") if metric == "auroc" else (mcnemar, "McNemar")
    p = test(cases, reference)
    return drawn if p is None else replace(drawn, p=p, test=name)


def _p_of(draws: Float[np.ndarray, " draw"]) -> float:
    """Twice the share of draws on the rarer side of 0.

    References:
        Davison and Hinkley 1997, section 4.4, https://doi.org/10.1017/CBO9780511802843.
    """
    side = min((draws <= _SAME).sum(), (draws >= -_SAME).sum())
    return float(min(1.0, 2 * (side + 1) / (draws.size + 1)))
