"""Flow diagram of the participants."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from asd_experiments.evaluation.figures.style import (
    DPI,
    GREY,
    LIGHT_GREY,
    SMALL_PT,
    TITLE_PT,
    WIDTH_IN,
    Style,
    cut,
)
from asd_experiments.evaluation.participant_flow import SPLITS

_MOST_REASONS = 4
_MOST_FOLDS = 10
_TEXT_PT = 10
_LINE_IN, _GAP_IN, _PADDING_IN = 0.19, 0.28, 0.1
_ROW_IN = 0.56
_LEFT_IN, _BOX_IN, _STEM_IN, _SIDE_IN = 0.25, 4.0, 1.0, 2.0
_TOP_IN = 0.6
_LINE_CHARACTERS, _SIDE_CHARACTERS, _NAME_CHARACTERS = 70, 46, 16

Lines = list[str]


def flow_figure(flow: pd.DataFrame, title: str, kept: str = "In the clip store") -> Figure:
    """Draw the way from the labels to the parts of every fold, as STARD's diagram does.

    Args:
        flow: From `participant_flow`.
        title: Heading.
        kept: What became of the videos that were not left out.
    """
    stages = {str(name): rows for name, rows in flow.groupby("stage")}
    top = ["In the labels", *_counted(stages["labels"])]
    side = (
        ["Left out", *_reasons(stages["excluded"])] if "excluded" in stages else ["None left out"]
    )
    middle = [kept, *_counted(stages["stored"])]
    folds = [int(fold) for fold in sorted(flow["fold"].dropna().unique())]
    shown = folds if len(folds) <= _MOST_FOLDS else folds[: _MOST_FOLDS - 1]
    branch = _TOP_IN + _height(top) + _GAP_IN
    lower = branch + _height(side) + _GAP_IN
    table = lower + _height(middle) + _GAP_IN
    height = table + 0.75 + _ROW_IN * len(shown) + (0.3 if len(shown) < len(folds) else 0)
    if not folds:
        height = table

    figure, axes = _canvas(height, title)
    _box(axes, top, _LEFT_IN, _TOP_IN, _BOX_IN)
    _box(axes, side, _SIDE_IN, branch, WIDTH_IN - _SIDE_IN - _LEFT_IN)
    _box(axes, middle, _LEFT_IN, lower, _BOX_IN)
    _arrow(axes, (_STEM_IN, _TOP_IN + _height(top)), (_STEM_IN, lower))
    turn = branch + _height(side) / 2
    _arrow(axes, (_STEM_IN, turn), (_SIDE_IN, turn))
    if folds:
        _arrow(axes, (_STEM_IN, table - _GAP_IN), (_STEM_IN, table))
        _draw_folds(axes, flow, shown, table)
    if len(shown) < len(folds):
        text = f"and {len(folds) - len(shown)} folds more: see tables/participant_flow.csv"
        axes.text(_LEFT_IN, height - 0.2, text, fontsize=_TEXT_PT, va="center")
    return figure


def _counted(rows: pd.DataFrame) -> Lines:
    """What a box says of a stage: all together, then class by class."""
    lines = [_counts(rows)]
    for number, name in enumerate(rows["label"]):
        own = _counts(rows.iloc[number : number + 1])
        lines.append(f"{cut(str(name), _NAME_CHARACTERS)}: {own}")
    return lines


def _counts(rows: pd.DataFrame) -> str:
    known = [name for name in ("patients", "videos", "clips") if rows[name].notna().all()]
    return ", ".join(_number(int(rows[name].sum()), name) for name in known)


def _number(count: int, name: str) -> str:
    return f"{count:,} {name[:-1] if count == 1 else name}"


def _reasons(rows: pd.DataFrame) -> Lines:
    """How many videos were left out, for which reasons, the commonest first."""
    lines = [_number(int(rows["videos"].sum()), "videos")]
    if rows["patients"].notna().all() and (lost := int(rows["patients"].sum())):
        lines[0] += f", {_number(lost, 'patients')} wholly"
    counts = rows.groupby("reason")["videos"].sum().sort_values(ascending=False, kind="stable")
    shown = counts if len(counts) <= _MOST_REASONS else counts.iloc[: _MOST_REASONS - 1]
    lines += [cut(f"{count}: {reason}", _SIDE_CHARACTERS) for reason, count in shown.items()]
    if len(shown) < len(counts):
        rest = int(counts.iloc[len(shown) :].sum())
        lines.append(f"{rest}: {len(counts) - len(shown)} other reasons")
    return lines


def _canvas(height: float, title: str) -> tuple[Figure, Axes]:
    """Axes in inches from the upper left corner."""
    figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH_IN), ylim=(height, 0))
    axes.axis("off")
    axes.text(WIDTH_IN / 2, 0.3, title, ha="center", va="center", fontsize=TITLE_PT)
    return figure, axes


def _height(lines: Sequence[str]) -> float:
    return len(lines) * _LINE_IN + 2 * _PADDING_IN


def _box(axes: Axes, lines: Sequence[str], x: float, y: float, width: float) -> None:
    """A box of text whose first line is its heading."""
    _frame(axes, x, y, width, _height(lines), "white")
    for number, line in enumerate(lines):
        place = (x + _PADDING_IN, y + _PADDING_IN + (number + 0.5) * _LINE_IN)
        weight = "normal" if number else "bold"
        axes.text(*place, line, va="center", fontsize=_TEXT_PT, fontweight=weight)


def _frame(axes: Axes, x: float, y: float, width: float, height: float, fill: str) -> None:
    style: Style = {"boxstyle": "round,pad=0,rounding_size=0.05", "linewidth": 1}
    axes.add_patch(FancyBboxPatch((x, y), width, height, facecolor=fill, edgecolor=GREY, **style))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def _draw_folds(axes: Axes, flow: pd.DataFrame, folds: Sequence[int], top: float) -> None:
    """A row per fold with a box per part: patients, of every class, and their clips."""
    classes = flow.loc[flow["stage"] == "test", "label"].drop_duplicates()
    text = f"Patients ({'/'.join(cut(str(name), _NAME_CHARACTERS) for name in classes)}) and clips"
    axes.text(_LEFT_IN, top + 0.14, cut(text, _LINE_CHARACTERS), va="center", fontsize=_TEXT_PT)
    left, width = _LEFT_IN + 0.65, (WIDTH_IN - 2 * _LEFT_IN - 0.65) / len(SPLITS)
    for column, split in enumerate(SPLITS):
        place = (left + (column + 0.5) * width, top + 0.42)
        axes.text(*place, split, ha="center", va="center", fontsize=_TEXT_PT, fontweight="bold")
    for row, fold in enumerate(folds):
        y = top + 0.56 + row * _ROW_IN
        middle = y + (_ROW_IN - 0.08) / 2
        axes.text(_LEFT_IN, middle, f"fold {fold + 1}", va="center", fontsize=_TEXT_PT)
        for column, split in enumerate(SPLITS):
            x = left + column * width + 0.04
            fill = LIGHT_GREY if split == "test" else "white"
            _frame(axes, x, y, width - 0.08, _ROW_IN - 0.08, fill)
            own = flow[(flow["stage"] == split) & flow["fold"].eq(fold).fillna(False)]
            axes.text(
                x + (width - 0.08) / 2,
                middle,
                _part(own),
                ha="center",
                va="center",
                fontsize=SMALL_PT,
                linespacing=1.3,
            )


def _part(rows: pd.DataFrame) -> str:
    classes = "/".join(str(count) for count in rows["patients"])
    patients, clips = (int(rows[name].sum()) for name in ("patients", "clips"))
    return f"{patients} ({classes})\n{_number(clips, 'clips')}"
