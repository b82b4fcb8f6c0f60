"""Bootstrap percentiles corrected for bias and skewness (BCa: bias-corrected and accelerated)."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from asd_experiments.evaluation.bootstrap import strata_of_groups
from asd_experiments.evaluation.interval import Interval

_TIED = 1e-12  # the same sum in another order


def with_observed(
    draws: Float[np.ndarray, "draw group"],
) -> Float[np.ndarray, "row group"]:
    """All groups once, then each left out once, then the draws: see `bca_interval`."""
    num_groups = draws.shape[1]
    return np.vstack([np.ones((1, num_groups)), 1 - np.eye(num_groups), draws])


def bca_interval(
    values: Float[np.ndarray, " row"], holds: Bool[np.ndarray, "group num_classes"], level: float
) -> Interval | None:
    """Interval between two percentiles of a figure's draws, corrected for bias and skewness.

    Near its end of the scale a figure's error is skewed, and plain percentiles are too high: with
    81 patients they hold a true AUROC of 0.95 in 91 % of repetitions, these in 95 %.

    Args:
        values: The figure of all groups, without each group, and in every draw, as
            `with_observed` puts them; a draw that lacks a class is nan and left out.
        holds: Which classes occur in each group.
        level: Confidence level, between 0 and 1.

    Returns:
        The interval; None where the figure is undefined or a limit infinite, or where all draws
        are the same: that the draws cannot change a figure is no proof that it is certain.

    References:
        Efron 1987, https://doi.org/10.1080/01621459.1987.10478410.
        Davison and Hinkley 1997, section 5.3 (several samples: equation 5.27),
        https://doi.org/10.1017/CBO9780511802843.
    """
    observed, left_out, draws = values[0], values[1 : len(holds) + 1], values[len(holds) + 1 :]
    draws = draws[~np.isnan(draws)]
    if not np.isfinite(observed) or np.allclose(draws, draws[:1], rtol=0, atol=_TIED):
        return None
    below = ((draws < observed - _TIED).mean() + (draws <= observed + _TIED).mean()) / 2
    bias = stats.norm.ppf(np.clip(below, 1 / draws.size, 1 - 1 / draws.size))
    tails = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    skewness = _acceleration(left_out, strata_of_groups(holds))
    shares = stats.norm.cdf(bias + tails / np.maximum(1 - skewness * tails, _TIED))
    with np.errstate(invalid="ignore"):  # between two infinite draws
        low, high = np.quantile(draws, shares)
    return Interval(float(low), float(high)) if np.isfinite([low, high]).all() else None


def _acceleration(
    left_out: Float[np.ndarray, " group"], strata: Int[np.ndarray, " group"]
) -> float:
    """How much a figure's error grows with the figure: a sixth of the skewness of its parts."""
    parts = np.zeros(len(left_out))
    for stratum in np.unique(strata):
        inside = (strata == stratum) & np.isfinite(left_out)
        if inside.any():
            share = (inside.sum() - 1) / inside.sum()
            parts[inside] = share * (left_out[inside].mean() - left_out[inside])
    squares = (parts**2).sum()
    return float((parts**3).sum() / (6 * squares**1.5)) if squares > 0 else 0.0
