"""Bootstrap draws of whole groups, and a metric of every draw at once.

A draw is a row of weights: how often each group is in it. Nothing is copied, so thousands of draws
of thousands of clips take seconds.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from asd_experiments.errors import unknown_choice
from asd_experiments.evaluation.cases import Cases

_CELLS_AT_ONCE = 2_000_000
"""Weights of clips held in memory at a time, as numbers of eight bytes."""


class _Counts(NamedTuple):
    """Confusion matrices of all draws, as their margins."""

    hit: Float[np.ndarray, "draw num_classes"]
    """Cases of a class that were called it."""

    true: Float[np.ndarray, "draw num_classes"]
    called: Float[np.ndarray, "draw num_classes"]
    total: Float[np.ndarray, "draw 1"]


def group_numbers(cases: Cases) -> Int[np.ndarray, " unit"]:
    """Number of every unit's group, in the order of the groups' names."""
    return np.unique(cases.rows["group"].astype(str), return_inverse=True)[1]


def classes_of_groups(cases: Cases) -> Bool[np.ndarray, "group num_classes"]:
    """Which classes occur in each group."""
    groups = group_numbers(cases)
    holds = np.zeros((groups.max(initial=-1) + 1, len(cases.classes)), dtype=bool)
    holds[groups, cases.truth] = True
    return holds


def draw_groups(
    holds: Bool[np.ndarray, "group num_classes"], num_resamples: int, seed: int
) -> Float[np.ndarray, "draw group"]:
    """How often each group is drawn, with replacement.

    Groups are drawn within their class where each holds a single one, which keeps the design's
    class sizes; otherwise from all groups.

    Args:
        holds: Which classes occur in each group.
        num_resamples: Number of draws.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    single_class = bool((holds.sum(axis=1) == 1).all())
    strata = holds.argmax(axis=1) if single_class else np.zeros(len(holds), dtype=np.int64)
    weights = np.empty((num_resamples, len(holds)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        share = np.full(members.size, 1 / members.size)
        weights[:, members] = rng.multinomial(members.size, share, size=num_resamples)
    return weights


def metric_of_draws(
    cases: Cases, metric: str, weights: Float[np.ndarray, "draw group"]
) -> Float[np.ndarray, " draw"]:
    """A metric of every draw; nan where the draw lacks a class that the metric needs.

    With two classes F1, sensitivity and specificity are those of the positive class; with three or
    more they, AUROC and AUPRC are averages of one class against the rest.

    Args:
        cases: Units of one split.
        metric: One of `COMPARED_METRICS`.
        weights: How often each group is in each draw; the groups in the order of their names.

    Raises:
        ValueError: If the metric is unknown.

    References:
        Gorodkin 2004 (the correlation coefficient of several classes),
        https://doi.org/10.1016/j.compbiolchem.2004.09.006.
    """
    if metric not in COMPARED_METRICS:
        raise ValueError(unknown_choice("metric", metric, COMPARED_METRICS))
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw without a class is nan
        if metric == "brier":
            return _brier(cases, weights)
        if metric in _OF_SCORES:
            one = [_OF_SCORES[metric](cases, index, weights) for index in _against_rest(cases)]
            return np.asarray(np.mean(one, axis=0))
        return _OF_COUNTS[metric](_counts(cases, weights), cases.positive)


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


def _against_rest(cases: Cases) -> list[int]:
    """Classes that are ranked against all others: the positive one of two, each of more."""
    return list(range(len(cases.classes))) if cases.positive is None else [cases.positive]


def _auroc(
    cases: Cases, index: int, weights: Float[np.ndarray, "draw group"]
) -> Float[np.ndarray, " draw"]:
    groups, inside = group_numbers(cases), cases.truth == index
    wins = wins_between_groups(cases.probabilities[:, index], groups, inside, ~inside)
    sizes = [np.bincount(groups[part], minlength=len(wins)) for part in (inside, ~inside)]
    pairs = (weights @ sizes[0]) * (weights @ sizes[1])
    return np.asarray(((weights @ wins) * weights).sum(axis=1) / pairs)


def _auprc(
    cases: Cases, index: int, weights: Float[np.ndarray, "draw group"]
) -> Float[np.ndarray, " draw"]:
    """Average precision: precision at every score, weighted by the recall it adds."""
    scores = cases.probabilities[:, index]
    order = np.argsort(-scores, kind="stable")
    groups, inside = group_numbers(cases)[order], (cases.truth == index)[order]
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of equal scores
    parts = np.array_split(weights, -(-weights.shape[0] * len(scores) // _CELLS_AT_ONCE))
    values = []
    for part in parts:
        drawn = part[:, groups]
        found = np.cumsum(drawn * inside, axis=1)[:, last]
        called = np.cumsum(drawn, axis=1)[:, last]
        precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
        gained = np.diff(found, axis=1, prepend=0.0) / found[:, -1:]
        values.append((gained * precision).sum(axis=1))
    return np.concatenate(values)


def _brier(cases: Cases, weights: Float[np.ndarray, "draw group"]) -> Float[np.ndarray, " draw"]:
    num_classes, groups = len(cases.classes), group_numbers(cases)
    squared = ((cases.probabilities - np.eye(num_classes)[cases.truth]) ** 2).sum(axis=1)
    errors = np.bincount(groups, squared, minlength=weights.shape[1])
    sizes = np.bincount(groups, minlength=weights.shape[1])
    return np.asarray((weights @ errors) / (weights @ sizes) / (2 if num_classes == 2 else 1))


def _counts(cases: Cases, weights: Float[np.ndarray, "draw group"]) -> _Counts:
    num_classes = len(cases.classes)
    per_group = np.zeros((weights.shape[1], num_classes, num_classes))
    np.add.at(per_group, (group_numbers(cases), cases.truth, cases.decisions), 1)
    hit = np.diagonal(per_group, axis1=1, axis2=2)
    true, called = per_group.sum(axis=2), per_group.sum(axis=1)
    total = per_group.sum(axis=(1, 2))[:, None]
    return _Counts(weights @ hit, weights @ true, weights @ called, weights @ total)


def _one_or_mean(
    per_class: Float[np.ndarray, "draw num_classes"], positive: int | None
) -> Float[np.ndarray, " draw"]:
    return np.asarray(per_class.mean(axis=1) if positive is None else per_class[:, positive])


def _accuracy(counts: _Counts, _: int | None) -> Float[np.ndarray, " draw"]:
    return np.asarray(counts.hit.sum(axis=1) / counts.total[:, 0])


def _balanced_accuracy(counts: _Counts, _: int | None) -> Float[np.ndarray, " draw"]:
    return np.asarray((counts.hit / counts.true).mean(axis=1))


def _sensitivity(counts: _Counts, positive: int | None) -> Float[np.ndarray, " draw"]:
    return _one_or_mean(counts.hit / counts.true, positive)


def _specificity(counts: _Counts, positive: int | None) -> Float[np.ndarray, " draw"]:
    rest = counts.total - counts.true
    return _one_or_mean((rest - counts.called + counts.hit) / rest, positive)


def _f1(counts: _Counts, positive: int | None) -> Float[np.ndarray, " draw"]:
    score = 2 * counts.hit / (counts.true + counts.called)
    return _one_or_mean(np.where(counts.true > 0, score, np.nan), positive)


def _kappa(counts: _Counts, _: int | None) -> Float[np.ndarray, " draw"]:
    total = counts.total[:, 0]
    by_chance = (counts.true * counts.called).sum(axis=1) / total**2
    agreement = (counts.hit.sum(axis=1) / total - by_chance) / (1 - by_chance)
    return np.where(_several_classes(counts), agreement, np.nan)


def _mcc(counts: _Counts, _: int | None) -> Float[np.ndarray, " draw"]:
    total = counts.total[:, 0]
    covariance = counts.hit.sum(axis=1) * total - (counts.true * counts.called).sum(axis=1)
    spread = [total**2 - (margin**2).sum(axis=1) for margin in (counts.true, counts.called)]
    # Everything called one class has no correlation with anything: 0, as scikit-learn has it.
    value = np.where(spread[1] > 0, covariance / np.sqrt(spread[0] * spread[1]), 0.0)
    return np.where(_several_classes(counts), value, np.nan)


def _several_classes(counts: _Counts) -> Bool[np.ndarray, " draw"]:
    return np.asarray((counts.true > 0).sum(axis=1) > 1)


_OF_SCORES = {"auroc": _auroc, "auprc": _auprc}
_OF_COUNTS: dict[str, Callable[[_Counts, int | None], Float[np.ndarray, " draw"]]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "f1": _f1,
    "mcc": _mcc,
    "kappa": _kappa,
}

COMPARED_METRICS = (*_OF_SCORES, *_OF_COUNTS, "brier")
"""Metrics that two trials can be compared by."""
