"""Figures of the predictions: confusion matrix, ROC and precision-recall curves.

Figures are built without pyplot (no global state, no window) and drawn to be read at 600 px.
"""

import textwrap
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from asd_experiments.evaluation.calibration import brier_score, calibration_points
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.confusion import confusion_counts
from asd_experiments.evaluation.curves import (
    POOLED,
    curve_classes,
    precision_recall_points,
    roc_points,
)
from asd_experiments.evaluation.metrics import metric_values
from asd_experiments.evaluation.ranking import auroc_interval

# Okabe and Ito 2008, https://jfly.uni-koeln.de/color/: told apart by colour-blind readers.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
_DASHES = ("-", "--", ":", "-.")  # curves that coincide, as perfect ones do, stay visible
_FOLD_COLOUR = "#56B4E9"
_GREY = "#767676"
_BLUES = LinearSegmentedColormap.from_list("white_to_blue", ["#FFFFFF", _COLOURS[0]])
_WHITE_TEXT_ABOVE = 0.9  # the share from which white has more contrast than black

_Style = dict[str, Any]
_DrawStyle = Literal["default", "steps-pre"]
_DASHED: _Style = {"linestyle": "--", "linewidth": 1}
_ROUND: _Style = {"linestyle": "none", "marker": "o", "markeredgecolor": "black"}

_DPI = 200
_CELL_PT, _TITLE_PT, _LABEL_PT, _TICK_PT = 14, 13, 12, 11
_LINE_CHARACTERS = 55  # of text that fit side by side
_NAME_CHARACTERS = 16  # of a class name that fit beside a row
_COLUMNS_CHARACTERS = 44  # of class names that fit below all columns together

_UNDEFINED = "undefined, a class is missing"


class _OperatingPoint(NamedTuple):
    """What the decisions amount to for one class against the rest; nan where undefined."""

    sensitivity: float
    specificity: float
    precision: float


def confusion_figure(
    counts: Int[np.ndarray, "true predicted"], classes: list[str], title: str
) -> Figure:
    """Draw a confusion matrix with counts and row percentages in each cell.

    Args:
        counts: Number of cases, from `confusion_counts`.
        classes: Names of the rows and columns.
        title: Heading, e.g. `Test, 81 patients`.

    Raises:
        ValueError: If the matrix does not have one row and one column per class.
    """
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(
            f"counts must have one row and column per class ({len(classes)}), got {counts.shape}"
        )
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    cell_pt = min(_CELL_PT, 60 / len(classes))
    figure, axes = _new_figure(title)
    image = axes.imshow(shares, cmap=_BLUES, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = f"{shares[row, column]:.0%}" if totals[row] else "no case"
        colour = "white" if shares[row, column] > _WHITE_TEXT_ABOVE else "black"
        place: _Style = {"ha": "center", "va": "center", "fontsize": cell_pt}
        axes.text(column, row, f"{count}\n{share}", color=colour, **place)
    width = min(_NAME_CHARACTERS, _COLUMNS_CHARACTERS // len(classes))
    columns = [_shortened(name, width) for name in classes]
    names = [_shortened(name, _NAME_CHARACTERS) for name in classes]
    rows = [f"{name}\n(n = {total})" for name, total in zip(names, totals, strict=True)]
    axes.set_xticks(range(len(classes)), columns)
    axes.set_yticks(range(len(classes)), rows)
    axes.tick_params(length=0)
    _name_axes(axes, "predicted", "true")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format="{x:.0%}")
    bar.set_label("share of the true class", fontsize=_TICK_PT)
    bar.ax.tick_params(labelsize=_TICK_PT)
    return figure


def roc_figure(cases: Cases, title: str) -> Figure:
    """Draw the ROC curve: folds thin, pooled bold, with the AUROC, its interval and the decision.

    With three or more classes there is one pooled curve per class, against the rest.

    Args:
        cases: Units of one split. The pooled operating point need not lie on the pooled curve, as
            every fold decides by its own threshold.
        title: Heading, e.g. `Test, 81 patients`.
    """
    points = roc_points(cases).rename(
        columns={"false_positive_rate": "x", "true_positive_rate": "y"}
    )
    decided = _operating_points(cases)
    overall = _auroc_text(cases)
    names = curve_classes(cases)
    figure, axes = _new_figure(title)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="chance")
    if len(names) == 1:
        _draw_folds(axes, points, "default")
        for _, fold in cases.by_fold():
            own = _operating_points(fold)[names[0]]
            _mark(axes, 1 - own.specificity, own.sensitivity, _FOLD_COLOUR, size=5.0)
    for index, name in enumerate(names):
        curve = _pooled(points, name)
        area = f"{np.trapezoid(curve['y'], curve['x']):.2f}" if len(curve) else _UNDEFINED
        text = f"pooled: {overall}" if len(names) == 1 else f"{name} vs rest: {area}"
        _draw_pooled(axes, curve, index, text, "default")
        _mark(axes, 1 - decided[name].specificity, decided[name].sensitivity, _colour(index))
    _explain_marks(axes, len(names))
    _name_axes(axes, "1 - specificity", "sensitivity")
    _finish(figure, axes, None if len(names) == 1 else f"macro {overall}")
    return figure


def precision_recall_figure(cases: Cases, title: str) -> Figure:
    """Draw the precision-recall curve: folds thin, pooled bold, prevalence as a dashed line.

    With three or more classes there is one pooled curve per class, against the rest.

    Args:
        cases: Units of one split.
        title: Heading, e.g. `Test, 81 patients`.
    """
    points = precision_recall_points(cases).rename(columns={"recall": "x", "precision": "y"})
    stairs = _stairs(points)
    decided = _operating_points(cases)
    names = curve_classes(cases)
    figure, axes = _new_figure(title)
    if len(names) == 1:
        _draw_folds(axes, stairs, "steps-pre")
    for index, name in enumerate(names):
        prevalence = float((cases.rows["label"] == name).mean())
        curve = _pooled(stairs, name)
        average = _average_precision_text(curve)
        if len(names) == 1:
            text, line = f"pooled: average precision {average}", _GREY
            axes.plot([], [], color=line, **_DASHED, label=f"prevalence {prevalence:.2f}")
        else:
            text, line = f"{name} vs rest: {average} (prevalence {prevalence:.2f})", _colour(index)
        axes.axhline(prevalence, color=line, **_DASHED)
        _draw_pooled(axes, curve, index, text, "steps-pre")
        _mark(axes, decided[name].sensitivity, decided[name].precision, _colour(index))
    _explain_marks(axes, len(names))
    _name_axes(axes, "recall (sensitivity)", "precision")
    _finish(figure, axes, None if len(names) == 1 else "average precision (dashed: prevalence)")
    return figure


def calibration_figure(cases: Cases, title: str) -> Figure:
    """Draw the reliability curve: observed share against predicted probability.

    Args:
        cases: Units of one split.
        title: Heading, e.g. `Test, 81 patients`.
    """
    points = calibration_points(cases)
    figure, axes = _new_figure(title)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="perfect")
    for index, (name, curve) in enumerate(points.groupby("class", sort=False)):
        y, num_cases = curve["observed_share"], curve["count"]
        axes.errorbar(
            curve["mean_probability"],
            y,
            yerr=np.stack([y - curve["ci_low"], curve["ci_high"] - y]),
            color=_colour(index),
            linestyle=_DASHES[index % len(_DASHES)],
            marker="o",
            linewidth=2,
            capsize=4,
            clip_on=False,
            label=f"{name}: {num_cases.min()} to {num_cases.max()} cases each, 95 % CI",
        )
    brier = brier_score(cases.truth, cases.probabilities)
    _name_axes(axes, "predicted probability", "observed share")
    _finish(figure, axes, f"Brier score {brier:.3f}")
    return figure


def figure_to_array(figure: Figure) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a figure into an RGB picture, as MLflow's `log_image` takes it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    return np.array(pixels, dtype=np.uint8)[:, :, :3].copy()


def _new_figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.0, 5.0), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(textwrap.fill(title, _LINE_CHARACTERS), fontsize=_TITLE_PT, pad=10)
    axes.tick_params(labelsize=_TICK_PT)
    return figure, axes


def _shortened(name: str, width: int) -> str:
    return textwrap.fill(name, width, max_lines=2, placeholder="…")


def _name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=_LABEL_PT)
    axes.set_ylabel(y, fontsize=_LABEL_PT)


def _finish(figure: Figure, axes: Axes, legend_title: str | None) -> None:
    """Frame the unit square; the legend stands below it, where no curve can run into it."""
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", axisbelow=True)
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    texts = [str(text) for text in axes.get_legend_handles_labels()[1]]
    num_lines = sum(text.count("\n") + 1 for text in texts) + (legend_title is not None)
    figure.set_figheight(6.1 + 0.27 * num_lines)
    style: _Style = {"fontsize": _TICK_PT, "title_fontsize": _TICK_PT}
    figure.legend(loc="outside lower center", title=legend_title, **style)


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _pooled(points: pd.DataFrame, name: str) -> pd.DataFrame:
    return points[(points["fold"] == POOLED) & (points["class"] == name)]


def _draw_folds(axes: Axes, points: pd.DataFrame, drawstyle: _DrawStyle) -> None:
    """All folds alike, with one legend entry: a single fold's curve is not to be read alone."""
    axes.plot([], [], color=_FOLD_COLOUR, linewidth=1, label="single folds")
    for _, curve in points[points["fold"] != POOLED].groupby("fold"):
        style: _Style = {"linewidth": 1, "drawstyle": drawstyle, "clip_on": False}
        axes.plot(curve["x"], curve["y"], color=_FOLD_COLOUR, **style)


def _draw_pooled(
    axes: Axes, curve: pd.DataFrame, index: int, text: str, drawstyle: _DrawStyle
) -> None:
    axes.plot(
        curve["x"],
        curve["y"],
        color=_colour(index),
        linestyle=_DASHES[index % len(_DASHES)],
        linewidth=2.5,
        drawstyle=drawstyle,
        label=textwrap.fill(text, _LINE_CHARACTERS),
        clip_on=False,
        zorder=3,
    )


def _mark(axes: Axes, x: float, y: float, colour: str, size: float = 9.0) -> None:
    axes.plot([x], [y], color=colour, markersize=size, clip_on=False, zorder=5, **_ROUND)


def _explain_marks(axes: Axes, num_curves: int) -> None:
    """One legend entry for the marks of all curves."""
    text = "decision at each fold's own threshold" if num_curves == 1 else "most probable class"
    colour = _colour(0) if num_curves == 1 else "white"
    axes.plot([], [], color=colour, markersize=9, label=text, **_ROUND)


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
        return f"AUROC {_UNDEFINED}"
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
        return _UNDEFINED
    area = (np.diff(stairs["x"]) * stairs["y"].to_numpy()[1:]).sum()
    return f"{area:.2f}"
