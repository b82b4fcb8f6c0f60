"""Figures of an ablation: rows, main effects, and the readers beside a model's ROC curve."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd_experiments.evaluation.curves import POOLED, roc_points
from asd_experiments.evaluation.figures.style import (
    COLOURS,
    DPI,
    GREY,
    LABEL_PT,
    LIGHT_GREY,
    TICK_PT,
    TITLE_PT,
    name_axes,
    shortened,
)
from asd_experiments.evaluation.sampled import Estimate, goodness
from asd_experiments.evaluation.wording import title_of
from asd_experiments.reporting.effects import Effect
from asd_experiments.reporting.readers import Reader
from asd_experiments.reporting.rows import Comparison, Row

MOST_ROWS = 40
"""Rows that a figure shows; the table shows all."""

_BLUE, _VERMILION = COLOURS[:2]
_NAME_CHARACTERS = 44


def rows_figure(comparison: Comparison, readers: Sequence[Reader], metric: str) -> Figure:
    """Draw the metric of every row with its interval, the best on top, the reference marked."""
    rows = sorted(comparison.rows, key=lambda row: -goodness(metric, row.figures[metric].value))
    shown = _with_reference(rows, comparison.reference)
    lines = [(_row_name(row), row.figures[metric], row is comparison.reference) for row in shown]
    lines += [(f"reader {r.name}", r.figures[metric], False) for r in readers]
    figure, axes = _new_figure(8.0, 1.6 + 0.42 * len(lines))
    for place, (_, estimate, is_reference) in enumerate(lines):
        colour = _VERMILION if is_reference else (_BLUE if place < len(shown) else "black")
        _dot(axes, place, estimate, colour)
    value = comparison.reference.figures[metric].value
    axes.axvline(value, color=_VERMILION, linestyle="--", linewidth=1, zorder=1)
    _name_places(axes, [name for name, _, _ in lines])
    axes.set_xlabel(
        f"{title_of(metric)} of outer test {comparison.unit}s, 95 % CI", fontsize=LABEL_PT
    )
    left_out = len(rows) - len(shown)
    title = f"{title_of(metric)} by row (red: reference)"
    _entitle(axes, f"{title}; {left_out} more in the table" if left_out else title)
    return figure


def effects_figure(effects: Sequence[Effect], metric: str, unit: str) -> Figure:
    """Draw the marginal mean of every level of every parameter, with its interval."""
    num_levels = sum(len(effect.levels) for effect in effects)
    figure = Figure(
        figsize=(8.0, 1.4 + 0.42 * num_levels + 0.5 * len(effects)), dpi=DPI, layout="constrained"
    )
    heights = [len(effect.levels) + 0.6 for effect in effects]
    panels = figure.subplots(len(effects), 1, sharex=True, height_ratios=heights, squeeze=False)
    for axes, effect in zip(panels[:, 0], effects, strict=True):
        for place, level in enumerate(effect.levels):
            _dot(axes, place, level.mean, _BLUE)
        told = f"matched over {effect.num_matched} settings" if effect.num_matched else "unmatched"
        axes.set_title(f"{effect.name.replace('_', ' ')} ({told})", loc="left", fontsize=LABEL_PT)
        _name_places(axes, [f"{level.value} (n = {level.num_trials})" for level in effect.levels])
        _bare(axes)
    panels[-1, 0].set_xlabel(
        f"mean {title_of(metric)} of outer test {unit}s, 95 % CI", fontsize=LABEL_PT
    )
    return figure


def readers_figure(comparison: Comparison, readers: Sequence[Reader]) -> Figure:
    """Draw the reference row's pooled ROC curve with the readers as points."""
    cases = comparison.cases[comparison.reference.members[0]]
    points = roc_points(cases)
    curve = points[points["fold"] == POOLED]
    figure, axes = _new_figure(6.4, 6.6)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="chance")
    axes.plot(
        curve["false_positive_rate"],
        curve["true_positive_rate"],
        color=_BLUE,
        linewidth=2.5,
        label=shortened(comparison.reference.name, _NAME_CHARACTERS),
        clip_on=False,
    )
    for marker, reader in zip("osD^v<>P*X", readers, strict=False):
        sensitivity, specificity = reader.figures["sensitivity"], reader.figures["specificity"]
        x, y = 1 - specificity.value, sensitivity.value
        axes.errorbar(
            [x],
            [y],
            xerr=_error(specificity, reverse=True),
            yerr=_error(sensitivity),
            color="black",
            marker=marker,
            markersize=9,
            markerfacecolor=_VERMILION,
            capsize=4,
            linestyle="none",
            label=f"reader {reader.name}, 95 % CI",
            zorder=4,
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    name_axes(axes, "1 - specificity", "sensitivity")
    _entitle(axes, "Readers beside the reference row, patients")
    _bare(axes)
    figure.legend(loc="outside lower center", fontsize=TICK_PT)
    return figure


def _new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    _bare(axes)
    return figure, axes


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=TICK_PT)
    axes.grid(axis="x", color=LIGHT_GREY, linewidth=0.8)
    axes.set_axisbelow(True)


def _dot(axes: Axes, place: int, estimate: Estimate, colour: str) -> None:
    if np.isfinite(estimate.value):
        axes.errorbar(
            [estimate.value],
            [place],
            xerr=_error(estimate),
            color=colour,
            marker="o",
            markersize=7,
            linewidth=2,
            capsize=4,
        )


def _error(estimate: Estimate, *, reverse: bool = False) -> "np.ndarray | None":
    if estimate.interval is None:
        return None
    below = max(0.0, estimate.value - estimate.interval.low)
    above = max(0.0, estimate.interval.high - estimate.value)
    return np.array([[above], [below]] if reverse else [[below], [above]])


def _name_places(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(
        range(len(names)), [shortened(name, _NAME_CHARACTERS) for name in names], fontsize=TICK_PT
    )
    axes.set_ylim(len(names) - 0.4, -0.6)


def _entitle(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=TITLE_PT, loc="left", pad=10)


def _row_name(row: Row) -> str:
    ticks = [n for n, f in (("segmented", row.segmentation), ("flow", row.optical_flow)) if f]
    return f"{row.label} ({', '.join(ticks)})" if ticks else row.label


def _with_reference(rows: Sequence[Row], reference: Row) -> list[Row]:
    """The first rows, and the reference wherever it stands."""
    shown = list(rows[:MOST_ROWS])
    return shown if reference in shown else [*shown[:-1], reference]
