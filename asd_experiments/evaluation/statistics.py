"""How sure a metric is: confidence intervals that respect who the clips belong to."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import optimize, stats

from asd_experiments.evaluation.cases import Cases

_MIN_GROUPS = 2  # one group drawn again and again does not vary


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class _Contest(NamedTuple):
    """One class against the rest, counted between groups."""

    wins: Float[np.ndarray, "group group"]
    """Pairs in which a positive of the row's group outscores a negative of the column's."""

    positives: Float[np.ndarray, " group"]
    negatives: Float[np.ndarray, " group"]


def auroc_interval(
    cases: Cases,
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Interval of the pooled AUROC from a bootstrap over groups, not over rows.

    Clips of one patient resemble each other, so whole groups are drawn: within their class when
    every group holds a single class (which keeps the design's class sizes), otherwise from all
    groups, where draws that lack a class are left out. The limits are percentiles. Perfect
    separation never varies under resampling; there Newcombe's interval with the number of groups
    as sample size is given instead of the false [1, 1].

    The interval tells how the AUROC varies with the patients tested, not with those trained on.

    Args:
        cases: Units of one split. Three or more classes: macro average of one class against the
            rest.
        level: Confidence level, between 0 and 1.
        num_resamples: Number of bootstrap draws.
        seed: Seed of the draws.

    Returns:
        The interval; None when a class occurs in fewer than two groups.

    Raises:
        ValueError: If the level is not between 0 and 1 or there is not one draw.

    References:
        Davison and Hinkley 1997, section 3.8, https://doi.org/10.1017/CBO9780511802843.
        Newcombe 2006, part 2, method 5, https://doi.org/10.1002/sim.2324.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    groups = np.unique(cases.rows["group"].astype(str), return_inverse=True)[1]
    holds = _classes_of_groups(groups, cases.truth, len(cases.classes))
    if (holds.sum(axis=0) < _MIN_GROUPS).any():
        return None
    against_rest = range(len(cases.classes)) if cases.positive is None else [cases.positive]
    contests = [_contest(cases.probabilities[:, c], cases.truth == c, groups) for c in against_rest]
    observed = _auroc(contests, np.ones((1, len(holds))))[0]
    if observed in (0.0, 1.0):
        bound = np.mean([_separated_bound(c, level) for c in contests])
        return Interval(float(bound), 1.0) if observed else Interval(0.0, float(1 - bound))
    draws = _auroc(contests, _group_weights(holds, num_resamples, np.random.default_rng(seed)))
    if np.isnan(draws).all():
        return None
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _classes_of_groups(
    groups: Int[np.ndarray, " unit"], truth: Int[np.ndarray, " unit"], num_classes: int
) -> Bool[np.ndarray, "group num_classes"]:
    holds = np.zeros((groups.max(initial=-1) + 1, num_classes), dtype=bool)
    holds[groups, truth] = True
    return holds


def _contest(
    scores: Float[np.ndarray, " unit"],
    is_positive: Bool[np.ndarray, " unit"],
    groups: Int[np.ndarray, " unit"],
) -> _Contest:
    """Count the pairs between groups once, so that a draw only has to weight them."""
    num_groups = groups.max() + 1
    wins = np.zeros((num_groups, num_groups))
    negative_scores, negative_groups = scores[~is_positive], groups[~is_positive]
    for group in np.unique(groups[is_positive]):
        own = np.sort(scores[is_positive & (groups == group)])
        lost = np.searchsorted(own, negative_scores, "left")
        lost_or_tied = np.searchsorted(own, negative_scores, "right")
        won = own.size - (lost + lost_or_tied) / 2  # a tie is half a win
        wins[group] = np.bincount(negative_groups, won, minlength=num_groups)
    return _Contest(
        wins,
        np.bincount(groups[is_positive], minlength=num_groups).astype(np.float64),
        np.bincount(negative_groups, minlength=num_groups).astype(np.float64),
    )


def _group_weights(
    holds: Bool[np.ndarray, "group num_classes"], num_resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, "draw group"]:
    """How often each group is drawn: with replacement, within classes where that is possible."""
    single_class = bool((holds.sum(axis=1) == 1).all())
    strata = holds.argmax(axis=1) if single_class else np.zeros(len(holds), dtype=np.int64)
    weights = np.empty((num_resamples, len(holds)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        share = np.full(members.size, 1 / members.size)
        weights[:, members] = rng.multinomial(members.size, share, size=num_resamples)
    return weights


def _auroc(
    contests: list[_Contest], weights: Float[np.ndarray, "draw group"]
) -> Float[np.ndarray, " draw"]:
    """Macro AUROC of every draw; nan where a class was not drawn."""
    values = []
    for wins, positives, negatives in contests:
        won = ((weights @ wins) * weights).sum(axis=1)
        pairs = (weights @ positives) * (weights @ negatives)
        values.append(np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0))
    return np.asarray(np.mean(values, axis=0))


def _separated_bound(contest: _Contest, level: float) -> float:
    """Lower limit for an AUROC of exactly 1, counting each group once."""
    num_positive = int((contest.positives > 0).sum())
    num_negative = int((contest.negatives > 0).sum())
    excess = (num_positive + num_negative) / 2 - 1
    z_squared = float(stats.norm.ppf((1 + level) / 2)) ** 2 / (num_positive * num_negative)

    def surplus(auroc: float) -> float:
        spread = 1 + excess * ((1 - auroc) / (2 - auroc) + auroc / (1 + auroc))
        return 1 - auroc - z_squared * auroc * spread

    return float(optimize.brentq(surplus, 0.0, 1.0))
