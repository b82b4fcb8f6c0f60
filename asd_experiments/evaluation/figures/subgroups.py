"""Forest plot of the subgroups."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd_experiments.evaluation.figures.style import (
    COLOURS,
    GREY,
    LABEL_PT,
    SMALL_PT,
    TICK_PT,
    TITLE_PT,
    Style,
    blank_figure,
    cut,
    plain_frame,
    wrapped,
)

_ROW_IN = 0.34
_NAME_CHARACTERS = 26
_MEASURES = {"auroc": "AUROC", "accuracy": "accuracy"}


def subgroup_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw AUROC and accuracy of every subgroup with their intervals, all patients first.

    Small groups are hollow. A dashed line continues the value of all patients.

    Args:
        table: From `subgroup_table`.
        title: Heading.
    """
    lines = _lines(table)
    figure = blank_figure(len(lines) * _ROW_IN + 2.0)
    figure.suptitle(wrapped(title), fontsize=TITLE_PT)
    panels = figure.subplots(1, len(_MEASURES), sharey=True)
    for axes, (measure, name) in zip(panels, _MEASURES.items(), strict=True):
        _draw(axes, lines, measure)
        axes.set_xlabel(name, fontsize=LABEL_PT)
    panels[0].set_yticks(range(len(lines)), lines["text"], fontsize=SMALL_PT + 1)
    panels[0].set_ylim(len(lines) - 0.5, -0.5)
    for text, is_heading in zip(panels[0].get_yticklabels(), lines["is_heading"], strict=True):
        text.set_fontweight("bold" if is_heading else "normal")
    if note := _note(table):
        figure.supxlabel(note, fontsize=SMALL_PT, color="#404040")
    return figure


def _lines(table: pd.DataFrame) -> pd.DataFrame:
    """One row per line of the plot: the name of a column stands above its levels."""
    lines: list[dict[Any, Any]] = []
    for column, levels in table.groupby("column", sort=False):
        if column:
            lines.append({"text": cut(str(column), _NAME_CHARACTERS), "is_heading": True})
        for row in levels.to_dict("records"):
            star = "*" if row["auroc_against"] else ""
            name = cut(str(row["level"]), _NAME_CHARACTERS - 8)
            text = f"{name}{star} (n = {row['num_patients']})"
            lines.append(row | {"text": text, "is_heading": False})
    return pd.DataFrame(lines)


def _draw(axes: Axes, lines: pd.DataFrame, measure: str) -> None:
    overall = lines[measure].iloc[0]
    axes.axvline(overall, color=GREY, linestyle="--", linewidth=1)
    for place, row in enumerate(lines.to_dict("records")):
        if np.isnan(row[measure]):
            continue
        low, high = row[f"{measure}_ci_low"], row[f"{measure}_ci_high"]
        axes.plot([low, high], [place, place], color=COLOURS[0], linewidth=1.8)
        fill = "white" if row["is_small"] else COLOURS[0]
        style: Style = {"markeredgecolor": COLOURS[0], "clip_on": False, "zorder": 3}
        axes.plot([row[measure]], [place], "s", color=fill, markersize=7, **style)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(labelsize=TICK_PT)
    axes.tick_params(axis="y", length=0)
    plain_frame(axes)
    axes.grid(visible=False, axis="y")


def _note(table: pd.DataFrame) -> str:
    parts = ["bars: 95 % intervals, where there are enough patients for one"]
    if table["is_small"].any():
        parts.append("hollow: fewer than 5 patients")
    if (table["auroc_against"] != "").any():
        parts.append("*: one class, its AUROC is against all patients of the other")
    return wrapped("; ".join(parts), 78)
