"""Decision curve."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd_experiments.evaluation.figures.style import (
    GREY,
    UNDEFINED,
    colour,
    dashes,
    legend_below,
    name_axes,
    new_figure,
    plain_frame,
    wrapped,
)


def decision_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw the net benefit of deciding by the model beside that of treating all and nobody.

    Where the bold curve is the highest, deciding by the model does most good. With three or more
    classes there is one curve per class, against the rest.

    Args:
        table: From `decision_curve`.
        title: Heading, e.g. `Test, 81 patients`.
    """
    names = list(dict.fromkeys(table["class"]))
    figure, axes = new_figure(title, height_in=4.6)
    axes.axhline(0, color="black", linewidth=1.2, label="treat nobody" if names else UNDEFINED)
    for index, name in enumerate(names):
        own = table[table["class"] == name]
        ink = GREY if len(names) == 1 else colour(index)
        _draw(axes, own, "all", color=ink, linewidth=1.2, label="" if index else "treat all (thin)")
        bold = {"color": colour(index), "linestyle": dashes(index), "linewidth": 2.5}
        text = "by the model" if len(names) == 1 else f"by the model: {name} vs rest"
        _draw(axes, own, "model", **bold, label=wrapped(text))
    top = max(table["net_benefit"].max(), 0.05) if names else 1.0
    axes.set(xlim=(0, 1), ylim=(-0.25 * top, 1.08 * top))
    plain_frame(axes)
    name_axes(axes, "threshold probability", "net benefit")
    legend_below(figure, axes, None, height_in=4.7)
    return figure


def _draw(axes: Axes, table: pd.DataFrame, strategy: str, **style: object) -> None:
    own = table[table["strategy"] == strategy]
    axes.plot(own["threshold"], own["net_benefit"], **style)  # type: ignore[arg-type]
