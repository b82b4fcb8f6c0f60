"""Confusion matrices, pooled and fold by fold."""

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.confusion import confusion_counts
from asd_experiments.evaluation.figures.style import (
    COLOURS,
    LABEL_PT,
    TICK_PT,
    Style,
    name_axes,
    new_figure,
    new_panels,
    shortened,
)

_BLUES = LinearSegmentedColormap.from_list("white_to_blue", ["#FFFFFF", COLOURS[0]])
_WHITE_TEXT_ABOVE = 0.9  # the share from which white has more contrast than black
_CELL_PT = 14.0
_NAME_CHARACTERS = 16  # of a class name that fit beside a row
_COLUMNS_CHARACTERS = 44  # of class names that fit below all columns together


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
    figure, axes = new_figure(title)
    image = _draw(axes, counts, cell_pt=min(_CELL_PT, 60 / len(classes)))
    width = min(_NAME_CHARACTERS, _COLUMNS_CHARACTERS // len(classes))
    columns = [shortened(name, width) for name in classes]
    names = [shortened(name, _NAME_CHARACTERS) for name in classes]
    totals = counts.sum(axis=1)
    rows = [f"{name}\n(n = {total})" for name, total in zip(names, totals, strict=True)]
    axes.set_xticks(range(len(classes)), columns)
    axes.set_yticks(range(len(classes)), rows)
    name_axes(axes, "predicted", "true")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format="{x:.0%}")
    bar.set_label("share of the true class", fontsize=TICK_PT)
    bar.ax.tick_params(labelsize=TICK_PT)
    return figure


def confusion_by_fold_figure(cases: Cases, title: str) -> Figure:
    """Draw the confusion matrix of every fold and of all folds pooled, side by side.

    Args:
        cases: Units of one split.
        title: Heading, e.g. `Test, 81 patients`.
    """
    parts = {f"fold {fold + 1}": own for fold, own in cases.by_fold()} | {"all folds": cases}
    columns = 3 if len(cases.classes) < 4 else 2
    figure, panels = new_panels(
        title,
        [f"{name} (n = {len(own)})" for name, own in parts.items()],
        x="predicted",
        columns=columns,
        height_in=6.6 / columns,
    )
    names = [shortened(name, 20 // columns) for name in cases.classes]
    ticks = range(len(names))
    cell_pt = min(LABEL_PT, 81 / columns / len(names))
    for axes, own in zip(panels, parts.values(), strict=True):
        _draw(axes, confusion_counts(own), cell_pt=cell_pt)
        axes.set_xticks(ticks, names, rotation=0 if len(names) < 4 else 90)
        axes.set_yticks(ticks, names)
    figure.supylabel("true", fontsize=LABEL_PT)
    return figure


def _draw(axes: Axes, counts: Int[np.ndarray, "true predicted"], *, cell_pt: float) -> AxesImage:
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    image = axes.imshow(shares, cmap=_BLUES, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = f"{shares[row, column]:.0%}" if totals[row] else "no case"
        ink = "white" if shares[row, column] > _WHITE_TEXT_ABOVE else "black"
        place: Style = {"ha": "center", "va": "center", "fontsize": cell_pt}
        axes.text(column, row, f"{count}\n{share}", color=ink, **place)
    axes.tick_params(length=0)
    return image
