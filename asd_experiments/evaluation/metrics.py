"""Metrics from stored predictions, computed over all cases at once and never over batches."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from asd_experiments.evaluation.calibration import brier_score, expected_calibration_error
from asd_experiments.evaluation.cases import Cases, Predictions
from asd_experiments.evaluation.comparison import permutation_p
from asd_experiments.evaluation.predictions import (
    LOWEST_PROBABILITY,
    SPLITS,
    UNITS,
    check_predictions,
    probability_columns,
)
from asd_experiments.evaluation.ranking import ranking_metrics
from asd_experiments.evaluation.rates import confusions_of_groups, rates
from asd_experiments.evaluation.recalibration import recalibration
from asd_experiments.evaluation.temperature import Temperature, fit_temperatures, scaled
from asd_experiments.evaluation.uncertainty import metric_intervals

Sense = Literal["maximize", "minimize"]

METRICS: dict[str, Sense | None] = {
    "auroc": "maximize",
    "auprc": "maximize",
    "accuracy": "maximize",
    "majority_accuracy": None,
    "balanced_accuracy": "maximize",
    "f1": "maximize",
    "f1_macro": "maximize",
    "f1_weighted": "maximize",
    "sensitivity": "maximize",
    "specificity": "maximize",
    "ppv": "maximize",
    "npv": "maximize",
    "lr_positive": None,
    "lr_negative": "minimize",
    "mcc": "maximize",
    "kappa": "maximize",
    "brier": "minimize",
    "ece": "minimize",
    "loss": "minimize",
    "calibration_slope": None,
    "calibration_intercept": None,
}
"""What is computed of every split and unit, pooled and by fold, and which way it gets better.

None: neither more nor less of it is better, or, as with `lr_positive`, the best has no value.
"""

SELECTION_METRIC = "val/patient/loss"
"""What chooses the epoch of a fold: class-balanced log loss of the inner validation patients."""

_DIGITS = 9  # beyond them the order of the rows would show


def evaluate(predictions: Predictions) -> dict[str, float]:
    """Compute every metric of every split and unit, under the names they are logged by.

    `<split>/<unit>/<metric>` is pooled over the out-of-fold cases of all folds; `..._fold_mean`
    and `..._fold_sd` (n - 1) are over folds. `test/<unit>/<metric>_ci_low` and `_ci_high` are the
    95 % interval of a pooled metric. `test/<unit>/brier_scaled`, `ece_scaled` and `loss_scaled`
    are what they would be at the temperature of each fold; `test/<unit>/auroc_permutation_p` is how
    often labels that are shuffled between groups reach the AUROC. Metrics of single classes,
    `<metric>_<class>`, are pooled alone: a fold has too few cases of one.

    A metric that is undefined for want of a class is left out, and a fold in which it is undefined
    does not count: `..._fold_count` then says how many folds did (it is absent when all did). Each
    case is judged by the threshold of its own fold, also in pooled metrics.

    Raises:
        ValueError: If the table is malformed or a fold has no threshold.
    """
    table = predictions.table
    check_predictions(table, predictions.classes)
    num_folds = int(table["fold"].nunique())
    values: dict[str, float] = {}
    temperatures = fit_temperatures(predictions)
    for split in (name for name in SPLITS if (table["split"] == name).any()):
        for unit in UNITS:
            cases = predictions.cases(split, unit)
            metrics = judged(cases) if split == "test" else metric_values(cases)
            metrics |= _over_folds(cases, num_folds)
            if split == "test":
                metrics |= _scaled(cases, temperatures)
            values |= {f"{split}/{unit}/{name}": value for name, value in metrics.items()}
    return values


def judged(cases: Cases) -> dict[str, float]:
    """Compute the metrics of these cases together, their intervals, and the AUROC against chance.

    Args:
        cases: Units of one split, over all folds.

    Returns:
        `<metric>` as `metric_values` has it, `<metric>_ci_low` and `_ci_high` (95 %), and
        `auroc_permutation_p`; what is undefined is left out.
    """
    return metric_values(cases) | _limits(cases) | _against_chance(cases)


def metric_values(cases: Cases) -> dict[str, float]:
    """Compute the metrics that these cases define, together.

    With two classes F1, sensitivity, specificity, PPV and NPV are those of the positive class.
    With three or more they, AUROC, AUPRC and the calibration's slope and intercept are averages
    of one class against the rest, and stand beside those of every class; likelihood ratios are of
    two classes alone. `loss` is the class-balanced log loss, `majority_accuracy` what calling
    everything the commonest class would score.

    Accuracies, the Brier score, the calibration error, the loss and `f1_weighted` need a case; MCC
    and kappa two classes among the labels; sensitivity and F1 the positive, specificity the
    negative class; PPV and NPV a case that was called so; everything else every class.

    Returns:
        The defined metrics, by the names in `METRICS`, and with the name of a class.
    """
    if len(cases) == 0:
        return {}
    matrices = confusions_of_groups(cases)
    pooled = rates(matrices.weighted(np.ones((1, len(matrices.counts)))))
    values = {
        **ranking_metrics(cases),
        **{name: float(value[0]) for name, value in pooled.items()},
        **probability_metrics(cases),
        **recalibration(cases),
    }
    return {name: round(value, _DIGITS) for name, value in values.items() if np.isfinite(value)}


def probability_metrics(cases: Cases) -> dict[str, float]:
    """Compute `brier`, `ece` and `loss` of at least one case."""
    return {
        "brier": brier_score(cases.truth, cases.probabilities),
        "ece": expected_calibration_error(cases),
        "loss": balanced_log_loss(cases.rows, cases.classes),
    }


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
            per_class.append(-np.log(np.clip(true, LOWEST_PROBABILITY, 1)).mean())
    return float(np.mean(per_class))


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


def _limits(cases: Cases) -> dict[str, float]:
    return {
        f"{name}_ci_{end}": round(limit, _DIGITS)
        for name, interval in metric_intervals(cases).items()
        for end, limit in interval._asdict().items()
    }


def _against_chance(cases: Cases) -> dict[str, float]:
    p = permutation_p(cases)
    return {} if p is None else {"auroc_permutation_p": p}


def _scaled(cases: Cases, temperatures: Mapping[int, Temperature]) -> dict[str, float]:
    if not set(cases.rows["fold"]) <= set(temperatures):
        return {}  # a fold without inner validation
    values = probability_metrics(scaled(cases, temperatures))
    return {f"{name}_scaled": round(value, _DIGITS) for name, value in values.items()}
