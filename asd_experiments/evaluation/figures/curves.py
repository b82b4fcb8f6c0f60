"""ROC and precision-recall curves."""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.confusion import confusion_counts
from asd_experiments.evaluation.curves import (
    POOLED,
    curve_classes,
    precision_recall_points,
    roc_points,
)
from asd_experiments.evaluation.figures.style import (
    DASHED,
    FOLD_COLOUR,
    GREY,
    ROUND,
    UNDEFINED,
    Style,
    colour,
    dashes,
    name_axes,
    new_figure,
    unit_square,
    wrapped,
)
from asd_experiments.evaluation.metrics import metric_values
from asd_experiments.evaluation.ranking import auroc_interval

_DrawStyle = Literal["default", "steps-pre"]
_BAND = "95 % interval at each point (bootstrap over groups)"


class _OperatingPoint(NamedTuple):
    """What the decisions amount to for one class against the rest; nan where undefined."""

    sensitivity: float
    specificity: float
    precision: float


def roc_figure(cases: Cases, title: str, band: pd.DataFrame | None = None) -> Figure:
    """Draw the ROC curve: folds thin, pooled bold in its band, with the AUROC and the decision.

    Cases of a single fold have one curve, which is not called pooled. With three or more classes
    there is one pooled curve per class, against the rest.

    Args:
        cases: Units of one split. The pooled operating point need not lie on the pooled curve, as
            every fold decides by its own threshold.
        title: Heading, e.g. `Test, 81 patients`.
        band: From `roc_band`, to be shaded.
    """
    points = roc_points(cases).rename(
        columns={"false_positive_rate": "x", "true_positive_rate": "y"}
    )
    decided = _operating_points(cases)
    overall = _auroc_text(cases)
    names = curve_classes(cases)
    figure, axes = new_figure(title)
    if band is not None:
        _draw_band(axes, band.rename(columns={"false_positive_rate": "x"}), names)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="chance")
    if len(names) == 1 and cases.has_folds:
        _draw_folds(axes, points, "default")
        for _, fold in cases.by_fold():
            own = _operating_points(fold)[names[0]]
            _mark(axes, 1 - own.specificity, own.sensitivity, FOLD_COLOUR, size=5.0)
    for index, name in enumerate(names):
        curve = _pooled(points, name)
        area = f"{np.trapezoid(curve['y'], curve['x']):.2f}" if len(curve) else UNDEFINED
        text = _whole(cases, overall) if len(names) == 1 else f"{name} vs rest: {area}"
        _draw_pooled(axes, curve, index, text, "default")
        _mark(axes, 1 - decided[name].specificity, decided[name].sensitivity, colour(index))
    _explain_marks(axes, cases)
    _explain_band(axes, len(names))
    name_axes(axes, "1 - specificity", "sensitivity")
    unit_square(figure, axes, None if len(names) == 1 else f"macro {overall}")
    return figure


def precision_recall_figure(cases: Cases, title: str, band: pd.DataFrame | None = None) -> Figure:
    """Draw the precision-recall curve: folds thin, pooled bold in its band, prevalence dashed.

    With three or more classes there is one pooled curve per class, against the rest.

    Args:
        cases: Units of one split.
        title: Heading, e.g. `Test, 81 patients`.
        band: From `precision_recall_band`, to be shaded.
    """
    points = precision_recall_points(cases).rename(columns={"recall": "x", "precision": "y"})
    stairs = _stairs(points)
    decided = _operating_points(cases)
    names = curve_classes(cases)
    figure, axes = new_figure(title)
    if band is not None:
        _draw_band(axes, band.rename(columns={"recall": "x"}), names)
    if len(names) == 1 and cases.has_folds:
        _draw_folds(axes, stairs, "steps-pre")
    for index, name in enumerate(names):
        prevalence = float((cases.rows["label"] == name).mean())
        curve = _pooled(stairs, name)
        average = _average_precision_text(curve)
        if len(names) == 1:
            text, line = _whole(cases, f"average precision {average}"), GREY
            axes.plot([], [], color=line, **DASHED, label=f"prevalence {prevalence:.2f}")
        else:
            text, line = f"{name} vs rest: {average} (prevalence {prevalence:.2f})", colour(index)
        axes.axhline(prevalence, color=line, **DASHED)
        _draw_pooled(axes, curve, index, text, "steps-pre")
        _mark(axes, decided[name].sensitivity, decided[name].precision, colour(index))
    _explain_marks(axes, cases)
    _explain_band(axes, len(names))
    name_axes(axes, "recall (sensitivity)", "precision")
    unit_square(figure, axes, None if len(names) == 1 else "average precision (dashed: prevalence)")
    return figure


def _pooled(points: pd.DataFrame, name: str) -> pd.DataFrame:
    return points[(points["fold"] == POOLED) & (points["class"] == name)]


def _whole(cases: Cases, text: str) -> str:
    """What is said of the curve of all cases."""
    return f"pooled: {text}" if cases.has_folds else text


def _draw_folds(axes: Axes, points: pd.DataFrame, drawstyle: _DrawStyle) -> None:
    """All folds alike, with one legend entry: a single fold's curve is not to be read alone."""
    axes.plot([], [], color=FOLD_COLOUR, linewidth=1, label="single folds")
    for _, curve in points[points["fold"] != POOLED].groupby("fold"):
        style: Style = {"linewidth": 1, "drawstyle": drawstyle, "clip_on": False}
        axes.plot(curve["x"], curve["y"], color=FOLD_COLOUR, **style)


def _draw_band(axes: Axes, band: pd.DataFrame, names: list[str]) -> None:
    """Shade the pointwise intervals; those of several classes lightly, as they overlap."""
    for name, own in band.groupby("class"):
        index = names.index(str(name))
        axes.fill_between(
            own["x"],
            own["ci_low"],
            own["ci_high"],
            color=colour(index),
            alpha=0.2 if len(names) == 1 else 0.1,
            linewidth=0,
            zorder=1,
        )


def _explain_band(axes: Axes, num_curves: int) -> None:
    """One legend entry for the bands of all curves, if there are any."""
    if axes.collections:
        shade = colour(0) if num_curves == 1 else GREY
        axes.fill_between([], [], [], color=shade, alpha=0.2, linewidth=0, label=_BAND)


def _draw_pooled(
    axes: Axes, curve: pd.DataFrame, index: int, text: str, drawstyle: _DrawStyle
) -> None:
    axes.plot(
        curve["x"],
        curve["y"],
        color=colour(index),
        linestyle=dashes(index),
        linewidth=2.5,
        drawstyle=drawstyle,
        label=wrapped(text),
        clip_on=False,
        zorder=3,
    )


def _mark(axes: Axes, x: float, y: float, fill: str, size: float = 9.0) -> None:
    axes.plot([x], [y], color=fill, markersize=size, clip_on=False, zorder=5, **ROUND)


def _explain_marks(axes: Axes, cases: Cases) -> None:
    """One legend entry for the marks of all curves."""
    text, fill = "most probable class", "white"
    if cases.positive is not None:
        text, fill = "decision at each fold's own threshold", colour(0)
        if not cases.has_folds:
            (threshold,) = {cases.thresholds[int(fold)] for fold in cases.rows["fold"]}
            text = f"decision at the threshold {threshold:.3g}"
    axes.plot([], [], color=fill, markersize=9, label=text, **ROUND)


def _operating_points(cases: Cases) -> dict[str, _OperatingPoint]:
    counts = confusion_counts(cases)
    hits, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    others = counts.sum() - true
    return {
        name: _OperatingPoint(
            sensitivity=_ratio(hits[index], true[index]),
            specificity=_ratio(others[index] - predicted[index] + hits[index], others[index]),
            precision=_ratio(hits[index], predicted[index]),
        )
        for index, name in enumerate(cases.classes)
    }


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _auroc_text(cases: Cases) -> str:
    auroc = metric_values(cases).get("auroc")
    if auroc is None:
        return f"AUROC {UNDEFINED}"
    interval = auroc_interval(cases)
    if interval is None:
        return f"AUROC {auroc:.2f} (too few groups for an interval)"
    return f"AUROC {auroc:.2f} (95 % CI {interval.low:.2f} to {interval.high:.2f})"


def _stairs(points: pd.DataFrame) -> pd.DataFrame:
    """Precision where each recall is first reached: the steps whose area is average precision."""
    steps = points.drop_duplicates(["fold", "class", "x"], keep="first")
    following = steps.groupby(["fold", "class"])["y"].shift(-1)
    return steps.assign(y=steps["y"].where(np.isfinite(steps["threshold"]), following))


def _average_precision_text(stairs: pd.DataFrame) -> str:
    if stairs.empty:
        return UNDEFINED
    area = (np.diff(stairs["x"]) * stairs["y"].to_numpy()[1:]).sum()
    return f"{area:.2f}"
