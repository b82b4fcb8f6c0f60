"""How well the probabilities rank cases: areas under the ROC and precision-recall curves."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import optimize, stats
from sklearn.metrics import average_precision_score, roc_auc_score

from asd_experiments.evaluation.bca import bca_interval, with_observed
from asd_experiments.evaluation.bootstrap import (
    NUM_RESAMPLES,
    classes_of_groups,
    draw_groups,
    group_numbers,
)
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.interval import Interval, check_level
from asd_experiments.evaluation.proportions import wilson_interval

_CELLS_AT_ONCE = 2_000_000  # weights of cases held in memory at a time, 8 bytes each


class _Contest(NamedTuple):
    """One class against the rest."""

    labels: Bool[np.ndarray, " unit"]
    scores: Float[np.ndarray, " unit"]
    groups: Int[np.ndarray, " unit"]

    @property
    def is_held(self) -> bool:
        return bool(self.labels.any() and not self.labels.all())

    def orders(self, *, first: bool) -> bool:
        """Whether the class has all the highest scores, or the rest has."""
        if not self.is_held:
            return False
        upper, lower = (self.scores[self.labels == end] for end in (first, not first))
        return bool(upper.min() > lower.max())


_Draws = Callable[[_Contest, Float[np.ndarray, "draw group"]], Float[np.ndarray, " draw"]]


def ranking_metrics(cases: Cases) -> dict[str, float]:
    """Compute `auroc` and `auprc` (average precision), where they are defined.

    With three or more classes they are means of one class against the rest, which need every
    class, and `auroc_<class>` and `auprc_<class>` stand beside them.
    """
    contests = {ending: contest for ending, contest in _contests(cases).items() if contest.is_held}
    values: dict[str, float] = {}
    for metric, area in {"auroc": roc_auc_score, "auprc": average_precision_score}.items():
        areas = {ending: float(area(c.labels, c.scores)) for ending, c in contests.items()}
        values |= {f"{metric}{ending}": value for ending, value in areas.items()}
        if len(areas) == len(_contests(cases)):
            values[metric] = float(np.mean(list(areas.values())))
    return values


def ranking_draws(
    cases: Cases,
    weights: Float[np.ndarray, "draw group"],
    metrics: Collection[str] = ("auroc", "auprc"),
) -> dict[str, Float[np.ndarray, " draw"]]:
    """The same metrics in every draw of groups; nan where the draw lacks a class.

    Args:
        cases: Units of one split.
        weights: How often each group is in each draw, from `draw_groups`.
        metrics: Which of the two; the second takes as long as everything else.
    """
    values: dict[str, Float[np.ndarray, " draw"]] = {}
    for metric, draws in _DRAWS.items():
        if metric not in metrics:
            continue
        areas = {ending: draws(c, weights) for ending, c in _contests(cases).items()}
        values |= {f"{metric}{ending}": area for ending, area in areas.items()}
        values[metric] = np.mean(list(areas.values()), axis=0)
    return values


def separated_intervals(cases: Cases, level: float) -> dict[str, Interval]:
    """Intervals where scores separate a class from the rest, which no draw of groups can change.

    The groups are what is counted: Newcombe's interval for an AUROC of 1 or 0; for an AUPRC of 1
    Wilson's, as of that share of the positive groups.

    Args:
        cases: Units of one split.
        level: Confidence level, between 0 and 1.

    Returns:
        Intervals by metric, of those metrics alone.

    References:
        Newcombe 2006, part 2, method 5, https://doi.org/10.1002/sim.2324.
        Boyd, Eng and Page 2013 (the AUPRC as a proportion of the positives),
        https://doi.org/10.1007/978-3-642-40994-3_29.
    """
    contests = _contests(cases)
    found: dict[str, Interval] = {}
    for ending, contest in contests.items():
        if contest.orders(first=True):
            found[f"auroc{ending}"] = Interval(_separated_auroc(contest, level), 1.0)
            num_positive = len(np.unique(contest.groups[contest.labels]))
            found[f"auprc{ending}"] = wilson_interval(num_positive, num_positive, level)
        elif contest.orders(first=False):
            found[f"auroc{ending}"] = Interval(0.0, 1 - _separated_auroc(contest, level))
    for metric in _DRAWS:
        of_classes = [found[name] for e in contests if (name := f"{metric}{e}") in found]
        lows, highs = ([interval[end] for interval in of_classes] for end in (0, 1))
        same = all(low == 0 for low in lows) or all(high == 1 for high in highs)
        if same and len(of_classes) == len(contests):
            found[metric] = Interval(float(np.mean(lows)), float(np.mean(highs)))
    return found


def wins_between_groups(
    scores: Float[np.ndarray, " unit"],
    groups: Int[np.ndarray, " unit"],
    first: Bool[np.ndarray, " unit"],
    second: Bool[np.ndarray, " unit"],
) -> Float[np.ndarray, "group group"]:
    """Pairs in which a unit of the row's group outscores one of the column's; a tie is half.

    Args:
        scores: Score of every unit.
        groups: Number of every unit's group.
        first: Units that may win.
        second: Units that may lose.
    """
    num_groups = int(groups.max(initial=-1)) + 1
    wins = np.zeros((num_groups, num_groups))
    opponents, their_groups = scores[second], groups[second]
    for group in np.unique(groups[first]):
        own = np.sort(scores[first & (groups == group)])
        lost = np.searchsorted(own, opponents, "left")
        lost_or_tied = np.searchsorted(own, opponents, "right")
        won = own.size - (lost + lost_or_tied) / 2
        wins[group] = np.bincount(their_groups, won, minlength=num_groups)
    return wins


def last_of_equals(scores: Float[np.ndarray, " unit"]) -> Int[np.ndarray, " threshold"]:
    """Places of the last of every run of equal scores, in sorted scores."""
    return np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)


def auroc_interval(
    cases: Cases, *, level: float = 0.95, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval | None:
    """Interval of the pooled AUROC from a bootstrap over groups, not over rows.

    The interval tells how the AUROC varies with the patients tested, not with those trained on.

    Args:
        cases: Units of one split. Three or more classes: macro average of one class against the
            rest.
        level: Confidence level, between 0 and 1.
        num_resamples: Number of bootstrap draws.
        seed: Seed of the draws.

    Returns:
        The interval; None when a class occurs in fewer than two groups, or no draw changes it.

    Raises:
        ValueError: If the level is not between 0 and 1 or there is not one draw.
    """
    check_level(level)
    weights = draw_groups(cases, num_resamples, seed)
    if weights is None:
        return None
    separated = separated_intervals(cases, level)
    if "auroc" in separated:
        return separated["auroc"]
    areas = ranking_draws(cases, with_observed(weights), ("auroc",))["auroc"]
    return bca_interval(areas, classes_of_groups(cases), level)


def _contests(cases: Cases) -> dict[str, _Contest]:
    """The positive class of two, or each of more, by what its metrics' names end in."""
    groups, positive = group_numbers(cases), cases.positive
    endings = (
        {"": positive}
        if positive is not None
        else {f"_{name}": index for index, name in enumerate(cases.names)}
    )
    return {
        ending: _Contest(cases.truth == index, cases.probabilities[:, index], groups)
        for ending, index in endings.items()
    }


def _auroc_draws(
    contest: _Contest, weights: Float[np.ndarray, "draw group"]
) -> Float[np.ndarray, " draw"]:
    """Pairs between groups are counted once; a draw weights them."""
    labels, groups = contest.labels, contest.groups
    wins = wins_between_groups(contest.scores, groups, labels, ~labels)
    won = ((weights @ wins) * weights).sum(axis=1)
    sizes = [np.bincount(groups[part], minlength=len(wins)) for part in (labels, ~labels)]
    pairs = (weights @ sizes[0]) * (weights @ sizes[1])
    return np.asarray(np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0))


def _auprc_draws(
    contest: _Contest, weights: Float[np.ndarray, "draw group"]
) -> Float[np.ndarray, " draw"]:
    """Average precision is no sum over groups: every draw walks down the sorted cases."""
    order = np.argsort(-contest.scores, kind="stable")
    labels, scores, groups = (part[order] for part in contest)
    last = last_of_equals(scores)
    values = []
    for part in np.array_split(weights, -(-len(weights) * len(scores) // _CELLS_AT_ONCE)):
        drawn = part[:, groups]
        found = np.cumsum(drawn * labels, axis=1)[:, last]
        called = np.cumsum(drawn, axis=1)[:, last]
        precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
        area = (np.diff(found, axis=1, prepend=0.0) * precision).sum(axis=1)
        total = found[:, -1]
        values.append(np.divide(area, total, out=np.full(len(area), np.nan), where=total > 0))
    return np.concatenate(values)


def _separated_auroc(contest: _Contest, level: float) -> float:
    """Lower limit for an AUROC of exactly 1, counting each group once."""
    labels, groups = contest.labels, contest.groups
    num_positive, num_negative = (len(np.unique(groups[part])) for part in (labels, ~labels))
    excess = (num_positive + num_negative) / 2 - 1
    z_squared = float(stats.norm.ppf((1 + level) / 2)) ** 2 / (num_positive * num_negative)

    def surplus(auroc: float) -> float:
        spread = 1 + excess * ((1 - auroc) / (2 - auroc) + auroc / (1 + auroc))
        return 1 - auroc - z_squared * auroc * spread

    return float(optimize.brentq(surplus, 0.0, 1.0))


_DRAWS: dict[str, _Draws] = {"auroc": _auroc_draws, "auprc": _auprc_draws}
