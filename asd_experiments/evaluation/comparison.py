"""Is one trial better than another? Both were asked about the same patients, so in pairs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_test
from statsmodels.stats.multitest import multipletests

from asd_experiments.errors import unknown_choice
from asd_experiments.evaluation.bootstrap import (
    NUM_RESAMPLES,
    classes_of_groups,
    draw_groups,
    group_numbers,
)
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.interval import Interval, check_level
from asd_experiments.evaluation.predictions import Unit
from asd_experiments.evaluation.ranking import wins_between_groups
from asd_experiments.evaluation.uncertainty import metric_draws

_MIN_GROUPS = 2  # one group drawn again and again does not vary
_NAMED = 3  # patients in a message
_TIED = 1e-12  # the same sum in another order
_NO_VARIANCE = 1e-20  # below rounding errors of areas
_KEYS: dict[Unit, list[str]] = {
    "patient": ["patient_id"],
    "video": ["patient_id", "video"],
    "clip": ["patient_id", "video", "clip_start"],
}


COMPARED_METRICS = (
    *("auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity"),
    *("ppv", "npv", "f1", "f1_macro", "f1_weighted", "mcc", "kappa", "brier"),
)
"""Metrics that two trials can be compared by."""


class Difference(NamedTuple):
    """How much a metric differs between two trials."""

    value: float
    """Metric of the trial minus that of the reference."""

    interval: Interval | None
    """None where a class has fewer than two groups, or no draw changes either trial's metric."""


def difference(
    cases: Cases,
    reference: Cases,
    metric: str,
    *,
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Difference | None:
    """Metric of a trial minus that of the reference, with a paired bootstrap interval.

    Every draw takes the same groups for both trials, within class where every group holds a single
    one: what is hard about a patient is hard for both and cancels out. Only the groups need to be
    the same, so trials with different clips may be compared at clip level. Decisions are those of
    each trial's own thresholds.

    Args:
        cases: Units of one split of a trial.
        reference: Units of another trial.
        metric: One of `COMPARED_METRICS`.
        level: Confidence level, between 0 and 1.
        num_resamples: Number of bootstrap draws.
        seed: Seed of the draws.

    Returns:
        The difference; None where the metric is undefined.

    Raises:
        ValueError: If patients, labels or classes differ, the metric is unknown, or the level or
            the number of draws is out of range.

    References:
        Davison and Hinkley 1997, section 3.8, https://doi.org/10.1017/CBO9780511802843.
    """
    check_level(level)
    if metric not in COMPARED_METRICS:
        raise ValueError(unknown_choice("metric", metric, COMPARED_METRICS))
    check_same_patients(cases, reference)
    weights = draw_groups(cases, num_resamples, seed)
    once = np.ones((1, len(classes_of_groups(cases))))
    rows = once if weights is None else np.vstack([once, weights])
    drawn = np.array([metric_draws(c, rows, (metric,))[metric] for c in (cases, reference)])
    if not np.isfinite(drawn[:, 0]).all():
        return None
    value = float(drawn[0, 0] - drawn[1, 0])
    draws = drawn[:, 1:][:, np.isfinite(drawn[:, 1:]).all(axis=0)]
    # Two trials without a fault differ in no draw; that is no proof that they never will.
    if draws.size == 0 or (np.ptp(draws, axis=1) < _TIED).all():
        return Difference(value, None)
    tail = (1 - level) / 2
    low, high = np.quantile(draws[0] - draws[1], [tail, 1 - tail])
    return Difference(value, Interval(float(low), float(high)))


def delong(cases: Cases, reference: Cases) -> float | None:
    """Two-sided p value of "both trials have the same AUROC", from correlated ROC curves.

    With one case per group this is DeLong's test. Several cases of a group (clips, videos) are
    summed before they are squared, which is Obuchowski's variance for clustered data; the two
    agree where no group has a second case.

    Args:
        cases: Units of one split of a trial.
        reference: Units of another trial of the same groups.

    Returns:
        The p value; None for three or more classes, for which there is no such test, where a
        class occurs in fewer than two groups, and where no variance can be estimated.

    Raises:
        ValueError: If patients, labels or classes differ.

    References:
        DeLong, DeLong and Clarke-Pearson 1988, https://doi.org/10.2307/2531595.
        Obuchowski 1997, https://doi.org/10.2307/2533958.
        Sun and Xu 2014 (by ranks), https://doi.org/10.1109/LSP.2014.2337313.
    """
    check_same_patients(cases, reference)
    holds = classes_of_groups(cases).T
    if cases.positive is None or (holds.sum(axis=1) < _MIN_GROUPS).any():
        return None
    (area, influence), (other_area, other_influence) = map(_influences, (cases, reference))
    variance = _clustered_variance(
        influence - other_influence, holds[[cases.positive, 1 - cases.positive]]
    )
    if variance < _NO_VARIANCE:
        return 1.0 if abs(area - other_area) < _TIED else None
    return float(2 * stats.norm.sf(abs(area - other_area) / np.sqrt(variance)))


def mcnemar(cases: Cases, reference: Cases) -> float | None:
    """Two-sided exact p value of "both trials are right equally often".

    Only cases that one trial has right and the other wrong count.

    Args:
        cases: Units of one split of a trial.
        reference: Units of another trial of the same groups.

    Returns:
        The p value; None where a group has more than one case, as those are not independent.

    Raises:
        ValueError: If patients, labels or classes differ.

    References:
        McNemar 1947, https://doi.org/10.1007/BF02295996.
    """
    check_same_patients(cases, reference)
    if any(c.rows["group"].duplicated().any() for c in (cases, reference)):
        return None
    right = [(c.truth == c.decisions)[np.argsort(group_numbers(c))] for c in (cases, reference)]
    table = np.zeros((2, 2), dtype=np.int64)
    np.add.at(table, (right[0].astype(int), right[1].astype(int)), 1)
    return float(mcnemar_test(table, exact=True).pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for their number: each then holds for all comparisons together.

    Args:
        p_values: Unadjusted; None for a comparison without a test, which does not count.

    References:
        Holm 1979, https://www.jstor.org/stable/4615733.
    """
    known = [p for p in p_values if p is not None]
    adjusted = iter(multipletests(known, method="holm")[1] if known else [])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def permutation_p(cases: Cases, *, num_permutations: int = 1000, seed: int = 0) -> float | None:
    """P value of "the trial knows nothing": how often shuffled labels reach its AUROC.

    Labels are shuffled between groups, as cases of one group belong together. The observed labels
    count as one shuffle, so p is never 0.

    Args:
        cases: Units of one split. Three or more classes: macro average of one against the rest.
        num_permutations: Number of shuffles.
        seed: Seed of the shuffles.

    Returns:
        The p value; None where a class has no case or a group holds several classes.

    Raises:
        ValueError: If there is not one shuffle.

    References:
        Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585.
    """
    if num_permutations < 1:
        raise ValueError(f"num_permutations must be at least 1, got {num_permutations}")
    holds = classes_of_groups(cases)
    if not holds.any(axis=0).all() or (holds.sum(axis=1) > 1).any():
        return None
    labels = holds.argmax(axis=1)
    shuffled = np.random.default_rng(seed).permuted(np.tile(labels, (num_permutations, 1)), axis=1)
    values = _auroc_by_labels(cases, np.vstack([labels, shuffled]))
    reached = (values[1:] >= values[0] - _TIED).sum()
    return float((reached + 1) / (num_permutations + 1))


def check_same_patients(cases: Cases, reference: Cases) -> None:
    """Refuse to compare trials that did not test the same patients.

    Raises:
        ValueError: If classes, patients, their labels or their groups differ.
    """
    if (cases.classes, cases.positive) != (reference.classes, reference.positive):
        raise ValueError(
            f"classes must be the same and have the same positive class, got {cases.classes} "
            f"({cases.positive_class}) and {reference.classes} ({reference.positive_class})"
        )
    own, other = (_patients(c) for c in (cases, reference))
    if alone := sorted(map(str, own.index.symmetric_difference(other.index))):
        raise ValueError(f"both trials must hold the same patients; in one alone: {_few(alone)}")
    other = other.loc[own.index]
    for column in ("label", "group"):
        if apart := own.index[own[column] != other[column]].astype(str).tolist():
            raise ValueError(f"a patient must have the same {column} in both: {_few(apart)}")


def _patients(cases: Cases) -> pd.DataFrame:
    rows = cases.rows[["patient_id", "label", "group"]].astype(str)
    return rows.drop_duplicates("patient_id").set_index("patient_id")


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _unit(cases: Cases) -> Unit:
    if "clip_start" in cases.rows:
        return "clip"
    return "video" if "video" in cases.rows else "patient"


def _influences(cases: Cases) -> tuple[float, Float[np.ndarray, "2 group"]]:
    """AUROC, and what the positive and the negative cases of each group add to its error."""
    positive = cases.truth == cases.positive
    scores, groups = cases.probabilities[:, cases.positive or 0], group_numbers(cases)
    ranks = stats.rankdata(scores)
    parts = []
    for inside in (positive, ~positive):
        beaten = (ranks[inside] - stats.rankdata(scores[inside])) / (~inside).sum()
        deviations = (beaten - beaten.mean()) / inside.sum()
        parts.append(np.bincount(groups[inside], deviations, minlength=groups.max() + 1))
    area = (ranks[positive].mean() - (positive.sum() + 1) / 2) / (~positive).sum()
    # A negative case is the better the fewer positive ones it beats.
    return float(area), np.stack([parts[0], -parts[1]])


def _clustered_variance(
    influence: Float[np.ndarray, "2 group"], holds: Bool[np.ndarray, "2 group"]
) -> float:
    """Obuchowski 1997, section 3: variance of a sum over groups that hold one or both classes."""
    num_holding, num_groups = holds.sum(axis=1), holds.shape[1]
    within = num_holding / (num_holding - 1) * (influence**2).sum(axis=1)
    between = num_groups / (num_groups - 1) * (influence[0] * influence[1]).sum()
    return float(within.sum() + 2 * between)


def _auroc_by_labels(
    cases: Cases, labels: Int[np.ndarray, "shuffle group"]
) -> Float[np.ndarray, " shuffle"]:
    """AUROC under every labelling of the groups."""
    groups, everyone = group_numbers(cases), np.ones(len(cases), dtype=bool)
    sizes = np.bincount(groups)
    ranked = range(len(cases.classes)) if cases.positive is None else [cases.positive]
    values = []
    for index in ranked:
        wins = wins_between_groups(cases.probabilities[:, index], groups, everyone, everyone)
        inside: Bool[np.ndarray, "shuffle group"] = labels == index
        won = ((inside @ wins) * ~inside).sum(axis=1)
        values.append(won / ((inside @ sizes) * (~inside @ sizes)))
    return np.asarray(np.mean(values, axis=0))
