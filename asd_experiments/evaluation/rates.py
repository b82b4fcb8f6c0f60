"""What follows from confusion matrices: one matrix, or those of thousands of draws at once."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from asd_experiments.evaluation.bootstrap import group_numbers
from asd_experiments.evaluation.cases import Cases


class Proportion(NamedTuple):
    """Cases that count, of those that could."""

    hits: Float[np.ndarray, " draw"]
    total: Float[np.ndarray, " draw"]


@dataclass(frozen=True)
class Confusions:
    """Confusion matrices that share their classes."""

    counts: Float[np.ndarray, "draw true predicted"]
    """Number of cases; a weighted one in a draw."""

    names: list[str]
    """Classes in their fixed order, as metrics are named by them."""

    positive: int | None
    """Index of the positive class of two; None for three or more."""

    @property
    def hit(self) -> Float[np.ndarray, "draw num_classes"]:
        """Cases of each class that were called it."""
        return np.diagonal(self.counts, axis1=1, axis2=2)

    @property
    def true(self) -> Float[np.ndarray, "draw num_classes"]:
        """Cases of each class."""
        return np.asarray(self.counts.sum(axis=2))

    @property
    def called(self) -> Float[np.ndarray, "draw num_classes"]:
        """Cases that were called each class."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def total(self) -> Float[np.ndarray, " draw"]:
        """All cases."""
        return np.asarray(self.counts.sum(axis=(1, 2)))

    def weighted(self, weights: Float[np.ndarray, "draw group"]) -> "Confusions":
        """The matrices added up: one of every draw from one of every group."""
        return Confusions(np.tensordot(weights, self.counts, axes=1), self.names, self.positive)


def confusions_of_groups(cases: Cases) -> Confusions:
    """The confusion matrix of every group, in the order of `group_numbers`."""
    groups, size = group_numbers(cases), len(cases.classes)
    counts = np.zeros((groups.max(initial=-1) + 1, size, size))
    np.add.at(counts, (groups, cases.truth, cases.decisions), 1)
    return Confusions(counts, cases.names, cases.positive)


def rates(matrices: Confusions) -> dict[str, Float[np.ndarray, " draw"]]:
    """Compute every metric of the decisions.

    With two classes sensitivity, specificity, PPV, NPV and F1 are those of the positive class.
    With three or more they are means of one class against the rest, which need every class, and
    stand beside those of each class, `sensitivity_<class>` and so on. Likelihood ratios are of two
    classes alone: a mean of ratios has no meaning. `f1_<class>`, `f1_macro` and `f1_weighted`
    (by the cases of each class) are there with any number of classes.

    MCC and kappa need two classes among the labels. Where all are called one class MCC is 0, as
    its limit is.

    Returns:
        The metrics of every matrix; nan where undefined, infinite where the likelihood ratio of a
        positive answer has no false alarm to be divided by.

    References:
        Chicco and Jurman 2020 (MCC), https://doi.org/10.1186/s12864-019-6413-7.
        Gorodkin 2004 (MCC of several classes), https://doi.org/10.1016/j.compbiolchem.2004.09.006.
        Cohen 1960 (kappa), https://doi.org/10.1177/001316446002000104.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {name: part.hits / part.total for name, part in proportions(matrices).items()}
        values |= {
            "balanced_accuracy": np.mean(matrices.hit / matrices.true, axis=1),
            "majority_accuracy": matrices.true.max(axis=1) / matrices.total,
            "kappa": _kappa(matrices),
            "mcc": _mcc(matrices),
        }
        values |= _f1(matrices)
        return values | (_means(matrices, values) if matrices.positive is None else _odds(values))


def proportions(matrices: Confusions) -> dict[str, Proportion]:
    """The metrics that are one share of cases, by their names."""
    hit, true, called, total = matrices.hit, matrices.true, matrices.called, matrices.total
    parts = {"accuracy": Proportion(hit.sum(axis=1), total)}
    for index, name in enumerate(matrices.names):
        if matrices.positive not in (None, index):
            continue
        ending = f"_{name}" if matrices.positive is None else ""
        found, rest = hit[:, index], total - true[:, index]
        rejected = rest - called[:, index] + found
        parts |= {
            f"sensitivity{ending}": Proportion(found, true[:, index]),
            f"specificity{ending}": Proportion(rejected, rest),
            f"ppv{ending}": Proportion(found, called[:, index]),
            f"npv{ending}": Proportion(rejected, total - called[:, index]),
        }
    return parts


def _means(
    matrices: Confusions, values: dict[str, Float[np.ndarray, " draw"]]
) -> dict[str, Float[np.ndarray, " draw"]]:
    """A mean over the classes that happen to occur would change meaning between folds."""
    complete = (matrices.true > 0).all(axis=1)
    means = {}
    for metric in ("sensitivity", "specificity", "ppv", "npv"):
        of_classes = [values[f"{metric}_{name}"] for name in matrices.names]
        means[metric] = np.where(complete, np.mean(of_classes, axis=0), np.nan)
    return means


def _odds(values: dict[str, Float[np.ndarray, " draw"]]) -> dict[str, Float[np.ndarray, " draw"]]:
    sensitivity, specificity = values["sensitivity"], values["specificity"]
    return {
        "lr_positive": sensitivity / (1 - specificity),
        "lr_negative": (1 - sensitivity) / specificity,
    }


def _f1(matrices: Confusions) -> dict[str, Float[np.ndarray, " draw"]]:
    scores = 2 * matrices.hit / (matrices.true + matrices.called)
    scores = np.where(matrices.true > 0, scores, np.nan)
    macro, share = scores.mean(axis=1), matrices.true / matrices.total[:, None]
    values = {f"f1_{name}": scores[:, index] for index, name in enumerate(matrices.names)}
    return values | {
        "f1": macro if matrices.positive is None else scores[:, matrices.positive],
        "f1_macro": macro,
        "f1_weighted": (share * np.nan_to_num(scores)).sum(axis=1),
    }


def _kappa(matrices: Confusions) -> Float[np.ndarray, " draw"]:
    agreed = matrices.hit.sum(axis=1) / matrices.total
    by_chance = (matrices.true * matrices.called).sum(axis=1) / matrices.total**2
    several = (matrices.true > 0).sum(axis=1) > 1
    return np.where(several, (agreed - by_chance) / (1 - by_chance), np.nan)


def _mcc(matrices: Confusions) -> Float[np.ndarray, " draw"]:
    total = matrices.total
    shared = matrices.hit.sum(axis=1) * total - (matrices.true * matrices.called).sum(axis=1)
    spread = [total**2 - (part**2).sum(axis=1) for part in (matrices.true, matrices.called)]
    value = np.where(spread[1] > 0, shared / np.sqrt(spread[0] * spread[1]), 0.0)
    return np.where(spread[0] > 0, value, np.nan)
