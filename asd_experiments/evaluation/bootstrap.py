"""Bootstrap over groups: clips of one patient resemble each other, so patients are drawn.

A draw is a row of weights: how often each group is in it. Whatever adds up over cases is added up
within every group once, and a draw only has to weight the groups.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.interval import Interval

NUM_RESAMPLES = 2000
"""Draws behind an interval: its limits then vary by about a twentieth of its width."""

_MIN_GROUPS = 2  # one group drawn again and again does not vary
_ROUNDING = 1e-12  # draws that differ by less are the same


def group_numbers(cases: Cases) -> Int[np.ndarray, " unit"]:
    """Number of every unit's group, in the order of the groups' names."""
    return np.unique(cases.rows["group"].astype(str), return_inverse=True)[1]


def group_names(cases: Cases) -> list[str]:
    """Names of the groups, in the order in which draws weight them."""
    return sorted(set(cases.rows["group"].astype(str)))


def classes_of_groups(cases: Cases) -> Bool[np.ndarray, "group num_classes"]:
    """Which classes occur in each group."""
    groups = group_numbers(cases)
    holds = np.zeros((groups.max(initial=-1) + 1, len(cases.classes)), dtype=bool)
    holds[groups, cases.truth] = True
    return holds


def strata_of_groups(
    holds: Bool[np.ndarray, "group num_classes"],
) -> Int[np.ndarray, " group"]:
    """Within what groups are drawn: their class, or all together where a group holds several."""
    single_class = bool((holds.sum(axis=1) == 1).all())
    return holds.argmax(axis=1) if single_class else np.zeros(len(holds), dtype=np.int64)


def draw_groups(
    cases: Cases, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Float[np.ndarray, "draw group"] | None:
    """How often each group is drawn, with replacement.

    Groups are drawn within their class where each holds a single one, which keeps the design's
    class sizes; otherwise from all groups.

    Args:
        cases: Units of one split.
        num_resamples: Number of draws.
        seed: Seed of the draws.

    Returns:
        Weights, the groups in the order of `group_numbers`; None where a class occurs in fewer
        than two groups.

    Raises:
        ValueError: If there is not one draw.
    """
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    holds = classes_of_groups(cases)
    if (holds.sum(axis=0) < _MIN_GROUPS).any():
        return None
    rng, strata = np.random.default_rng(seed), strata_of_groups(holds)
    weights = np.empty((num_resamples, len(holds)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        share = np.full(members.size, 1 / members.size)
        weights[:, members] = rng.multinomial(members.size, share, size=num_resamples)
    return weights


def percentile_interval(draws: Float[np.ndarray, " draw"], level: float) -> Interval | None:
    """Interval between two percentiles of a figure's draws.

    Args:
        draws: The figure in every draw; nan where the draw lacks a class: it is left out.
        level: Confidence level, between 0 and 1.

    Returns:
        The interval; None where a limit is infinite, or where all draws are the same: that the
        draws cannot change a figure is no proof that it is certain.

    References:
        Davison and Hinkley 1997, section 5.3, https://doi.org/10.1017/CBO9780511802843.
    """
    draws = draws[~np.isnan(draws)]
    if draws.size == 0 or draws.max() <= draws.min() + _ROUNDING:
        return None
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):  # between two infinite draws
        low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(low), float(high)) if np.isfinite([low, high]).all() else None
