"""Metrics from stored predictions, computed over all cases at once and never over batches."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torchmetrics.functional import classification

from asd_experiments.evaluation.calibration import brier_score
from asd_experiments.evaluation.predictions import (
    SPLITS,
    UNITS,
    check_predictions,
    class_probabilities,
    positive_index,
    probability_columns,
    select_units,
    true_classes,
)
from asd_experiments.evaluation.statistics import auroc_interval
from asd_experiments.evaluation.threshold import decide

METRICS = (
    "auroc",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "sensitivity",
    "specificity",
    "kappa",
    "brier",
    "loss",
)
_DIGITS = 6  # torchmetrics counts in single precision: 0.7 comes back as 0.699999988


def evaluate(
    table: pd.DataFrame, classes: list[str], positive_class: str, thresholds: Mapping[int, float]
) -> dict[str, float]:
    """Compute every metric of every split and unit, under the names they are logged by.

    `<split>/<unit>/<metric>` is pooled over the out-of-fold cases of all folds; `..._fold_mean`
    and `..._fold_sd` (n - 1) are over folds. `test/<unit>/auroc_ci_low` and `_ci_high` are the
    95 % interval of the pooled AUROC. A metric that is undefined for want of a class is left out,
    and a fold in which it is undefined does not count: `..._fold_count` then says how many folds
    did (it is absent when all did).

    Args:
        table: Prediction table, one row per clip.
        classes: All classes in their fixed order.
        positive_class: Which of two classes counts as positive; not used for three or more.
        thresholds: Threshold of every fold, see `choose_thresholds`; each case is judged by its
            own fold's, also in pooled metrics. Not used for three or more classes.

    Raises:
        ValueError: If the table is malformed or a fold has no threshold.
    """
    check_predictions(table, classes)
    num_folds = int(table["fold"].nunique())
    values: dict[str, float] = {}
    for split in (name for name in SPLITS if (table["split"] == name).any()):
        for unit in UNITS:
            rows = select_units(table, split, unit)
            metrics = metric_values(rows, classes, positive_class, thresholds)
            metrics |= _over_folds(rows, classes, positive_class, thresholds, num_folds)
            if split == "test":
                metrics |= _interval(rows, classes, positive_class)
            values |= {f"{split}/{unit}/{name}": value for name, value in metrics.items()}
    return values


def metric_values(
    rows: pd.DataFrame, classes: list[str], positive_class: str, thresholds: Mapping[int, float]
) -> dict[str, float]:
    """Compute the metrics that these rows define, together.

    With two classes F1, sensitivity and specificity are those of the positive class. With three
    or more, AUROC, F1, sensitivity and specificity are averages of one class against the rest.
    `loss` is the class-balanced log loss. Accuracy, the Brier score and the loss need a row; kappa
    two classes among the labels; sensitivity and F1 the positive, specificity the negative class;
    everything else every class.

    Args:
        rows: Units of one split, from `select_units`.
        classes: All classes in their fixed order.
        positive_class: Which of two classes counts as positive.
        thresholds: Threshold of every fold.

    Returns:
        The defined metrics, by the names in `METRICS`.
    """
    truth = torch.from_numpy(true_classes(rows, classes))
    probabilities = torch.from_numpy(class_probabilities(rows, classes))
    decisions = torch.from_numpy(decide(rows, classes, positive_class, thresholds))
    if truth.numel() == 0:
        return {}
    positive = positive_index(classes, positive_class)
    if positive is None:
        values = _many_classes(probabilities, decisions, truth, len(classes))
    else:
        values = _two_classes(
            probabilities[:, positive], (decisions == positive).long(), (truth == positive).long()
        )
    values["brier"] = torch.tensor(brier_score(truth.numpy(), probabilities.numpy()))
    values["loss"] = torch.tensor(balanced_log_loss(rows, classes))
    return {name: round(float(values[name]), _DIGITS) for name in METRICS if name in values}


def balanced_log_loss(predictions: pd.DataFrame, classes: list[str]) -> float:
    """Mean over the classes of the mean negative log probability of the true class.

    Args:
        predictions: Units of one split, from `select_units`, or a prediction table.
        classes: All classes in their fixed order; one without a row does not count.
    """
    per_class = []
    for label, column in zip(classes, probability_columns(classes), strict=True):
        true = predictions.loc[predictions["label"] == label, column].to_numpy(dtype=float)
        if len(true):
            per_class.append(-np.log(np.clip(true, 1e-7, 1)).mean())
    return float(np.mean(per_class))


def _two_classes(
    scores: torch.Tensor, decisions: torch.Tensor, truth: torch.Tensor
) -> dict[str, torch.Tensor]:
    values = {"accuracy": classification.binary_accuracy(decisions, truth)}
    has_positive, has_negative = bool((truth == 1).any()), bool((truth == 0).any())
    if has_positive:
        values["sensitivity"] = classification.binary_recall(decisions, truth)
        values["f1"] = classification.binary_f1_score(decisions, truth)
    if has_negative:
        values["specificity"] = classification.binary_specificity(decisions, truth)
    if has_positive and has_negative:
        values["auroc"] = classification.binary_auroc(scores, truth)
        values["balanced_accuracy"] = (values["sensitivity"] + values["specificity"]) / 2
        values["kappa"] = classification.binary_cohen_kappa(decisions, truth)
    return values


def _many_classes(
    probabilities: torch.Tensor, decisions: torch.Tensor, truth: torch.Tensor, num_classes: int
) -> dict[str, torch.Tensor]:
    """A macro average over the classes that happen to occur would change meaning between folds."""
    values = {"accuracy": (decisions == truth).double().mean()}
    present = len(set(truth.tolist()))
    if present > 1:
        values["kappa"] = classification.multiclass_cohen_kappa(decisions, truth, num_classes)
    if present == num_classes:
        recall = classification.multiclass_recall(decisions, truth, num_classes, average="macro")
        values |= {
            "auroc": classification.multiclass_auroc(probabilities, truth, num_classes),
            "balanced_accuracy": recall,
            "f1": classification.multiclass_f1_score(decisions, truth, num_classes),
            "sensitivity": recall,
            "specificity": classification.multiclass_specificity(decisions, truth, num_classes),
        }
    return values


def _over_folds(
    rows: pd.DataFrame,
    classes: list[str],
    positive_class: str,
    thresholds: Mapping[int, float],
    num_folds: int,
) -> dict[str, float]:
    folds = [
        metric_values(fold, classes, positive_class, thresholds) for _, fold in rows.groupby("fold")
    ]
    values: dict[str, float] = {}
    for name in METRICS:
        defined = [fold[name] for fold in folds if name in fold]
        if defined:
            values[f"{name}_fold_mean"] = float(np.mean(defined))
        if len(defined) > 1:
            values[f"{name}_fold_sd"] = float(np.std(defined, ddof=1))
        if len(defined) < num_folds:
            values[f"{name}_fold_count"] = float(len(defined))
    return values


def _interval(rows: pd.DataFrame, classes: list[str], positive_class: str) -> dict[str, float]:
    interval = auroc_interval(rows, classes, positive_class)
    return (
        {}
        if interval is None
        else {
            "auroc_ci_low": interval.low,
            "auroc_ci_high": interval.high,
        }
    )
