"""Metrics from stored predictions, computed over all cases at once and never over batches."""

import numpy as np
import pandas as pd
import torch
from torchmetrics.functional import classification

from asd_experiments.evaluation.calibration import brier_score
from asd_experiments.evaluation.cases import Cases, Predictions
from asd_experiments.evaluation.predictions import (
    SPLITS,
    UNITS,
    check_predictions,
    probability_columns,
)
from asd_experiments.evaluation.statistics import auroc_interval

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


def evaluate(predictions: Predictions) -> dict[str, float]:
    """Compute every metric of every split and unit, under the names they are logged by.

    `<split>/<unit>/<metric>` is pooled over the out-of-fold cases of all folds; `..._fold_mean`
    and `..._fold_sd` (n - 1) are over folds. `test/<unit>/auroc_ci_low` and `_ci_high` are the
    95 % interval of the pooled AUROC. A metric that is undefined for want of a class is left out,
    and a fold in which it is undefined does not count: `..._fold_count` then says how many folds
    did (it is absent when all did). Each case is judged by the threshold of its own fold, also in
    pooled metrics.

    Raises:
        ValueError: If the table is malformed or a fold has no threshold.
    """
    table = predictions.table
    check_predictions(table, predictions.classes)
    num_folds = int(table["fold"].nunique())
    values: dict[str, float] = {}
    for split in (name for name in SPLITS if (table["split"] == name).any()):
        for unit in UNITS:
            cases = predictions.cases(split, unit)
            metrics = metric_values(cases) | _over_folds(cases, num_folds)
            if split == "test":
                metrics |= _interval(cases)
            values |= {f"{split}/{unit}/{name}": value for name, value in metrics.items()}
    return values


def metric_values(cases: Cases) -> dict[str, float]:
    """Compute the metrics that these cases define, together.

    With two classes F1, sensitivity and specificity are those of the positive class. With three
    or more, AUROC, F1, sensitivity and specificity are averages of one class against the rest.
    `loss` is the class-balanced log loss. Accuracy, the Brier score and the loss need a case; kappa
    two classes among the labels; sensitivity and F1 the positive, specificity the negative class;
    everything else every class.

    Returns:
        The defined metrics, by the names in `METRICS`.
    """
    if len(cases) == 0:
        return {}
    truth, decisions = torch.from_numpy(cases.truth), torch.from_numpy(cases.decisions)
    probabilities, positive = torch.from_numpy(cases.probabilities), cases.positive
    if positive is None:
        values = _many_classes(probabilities, decisions, truth, len(cases.classes))
    else:
        values = _two_classes(
            probabilities[:, positive], (decisions == positive).long(), (truth == positive).long()
        )
    values["brier"] = torch.tensor(brier_score(cases.truth, cases.probabilities))
    values["loss"] = torch.tensor(balanced_log_loss(cases.rows, cases.classes))
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


def _over_folds(cases: Cases, num_folds: int) -> dict[str, float]:
    folds = [metric_values(fold) for _, fold in cases.by_fold()]
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


def _interval(cases: Cases) -> dict[str, float]:
    interval = auroc_interval(cases)
    return (
        {}
        if interval is None
        else {
            "auroc_ci_low": interval.low,
            "auroc_ci_high": interval.high,
        }
    )
