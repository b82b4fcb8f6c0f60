"""How figures are written where people read them."""

import re
from collections.abc import Mapping

import numpy as np

from asd_experiments.evaluation.interval import Interval
from asd_experiments.evaluation.sampled import Estimate

MINUS = "\N{MINUS SIGN}"
NONE = ""

_TITLES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "f1_macro": "macro F1",
    "f1_weighted": "weighted F1",
    "lr_positive": "LR+",
    "lr_negative": "LR\N{MINUS SIGN}",
    "ppv": "PPV",
    "npv": "NPV",
    "mcc": "MCC",
    "ece": "ECE",
    "kappa": "kappa",
    "brier": "Brier",
}


def title_of(metric: str) -> str:
    """A metric's name in a heading."""
    return _TITLES.get(metric, metric.replace("_", " "))


def figure_text(estimate: Estimate | None, *, signed: bool = False, digits: int = 3) -> str:
    """A value with its interval, as a table shows it."""
    if estimate is None or not np.isfinite(estimate.value):
        return NONE
    form = f"{'+' if signed else ''}.{digits}f"
    told = f"{estimate.value:{form}}"
    if estimate.interval is not None:
        told += f" [{estimate.interval.low:{form}}, {estimate.interval.high:{form}}]"
    return told.replace("-", MINUS)


def logged_text(metrics: Mapping[str, float], name: str) -> str:
    """A logged figure with its interval; empty where it is undefined.

    Args:
        metrics: Metrics of a run.
        name: Of the figure; its limits are logged as `<name>_ci_low` and `<name>_ci_high`.
    """
    if name not in metrics:
        return NONE
    low, high = (metrics.get(f"{name}_ci_{end}") for end in ("low", "high"))
    interval = None if low is None or high is None else Interval(low, high)
    return figure_text(Estimate(metrics[name], interval))


def p_text(p: float | None) -> str:
    """A p value as papers give it."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def plain_markdown(text: str) -> str:
    """Text in Markdown that means no more than itself."""
    return re.sub(r"([|*`<\\])", r"\\\1", text)
