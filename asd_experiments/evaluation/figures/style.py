"""What all figures have in common: colours, sizes of text, frames, and the files they become."""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito 2008, https://jfly.uni-koeln.de/color/: told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")  # curves that coincide, as perfect ones do, stay visible
FOLD_COLOUR = "#56B4E9"
GREY = "#767676"
LIGHT_GREY = "#E6E6E6"

TITLE_PT, LABEL_PT, TICK_PT, SMALL_PT = 13.0, 12.0, 11.0, 9.0
WIDTH_IN, DPI = 6.0, 150
MOST_PANELS = 12
"""Small multiples that can be read beside each other; of more folds there is a table alone."""

UNDEFINED = "undefined, a class is missing"

Style = dict[str, Any]
"""Keyword arguments of matplotlib, which has no type for them."""

ROUND: Style = {"linestyle": "none", "marker": "o", "markeredgecolor": "black"}
DASHED: Style = {"linestyle": "--", "linewidth": 1}

_LINE_CHARACTERS = 55  # of text that fit side by side


def blank_figure(height_in: float) -> Figure:
    """A figure without axes, with room around them."""
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06, wspace=0.05)
    return Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout=layout)


def new_figure(title: str, height_in: float = 5.0) -> tuple[Figure, Axes]:
    """A figure with one pair of axes and a heading."""
    figure = blank_figure(height_in)
    axes = figure.add_subplot()
    axes.set_title(wrapped(title), fontsize=TITLE_PT, pad=10)
    axes.tick_params(labelsize=TICK_PT)
    return figure, axes


def new_panels(
    title: str, names: Sequence[str], *, x: str = "", columns: int = 3, height_in: float = 2.0
) -> tuple[Figure, list[Axes]]:
    """A figure of small panels that share their axes, each with a heading.

    Args:
        title: Heading of the figure.
        names: Heading of every panel.
        x: What is shown from left to right; it is written below the lowest panels.
        columns: Panels side by side.
        height_in: Height of a row of panels, inches.
    """
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure = blank_figure(rows * height_in + 0.9)
    figure.suptitle(wrapped(title), fontsize=TITLE_PT)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for axes in panels[len(names) :]:
        axes.remove()
    for number, (axes, name) in enumerate(zip(panels, names, strict=False)):
        axes.set_title(name, fontsize=TICK_PT)
        axes.tick_params(labelsize=SMALL_PT)
        if number + columns >= len(names):  # nothing stands below it
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(x, fontsize=TICK_PT)
    return figure, panels[: len(names)]


def wrapped(text: str, width: int = _LINE_CHARACTERS) -> str:
    """Text in lines that fit the width of a figure."""
    return textwrap.fill(text, width)


def shortened(name: str, width: int) -> str:
    """A name in two lines of some width; what does not fit is left out."""
    return textwrap.fill(name, width, max_lines=2, placeholder="…")


def cut(text: str, width: int) -> str:
    """The start of a text, in one line."""
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Write what is shown along both axes."""
    axes.set_xlabel(x, fontsize=LABEL_PT)
    axes.set_ylabel(y, fontsize=LABEL_PT)


def plain_frame(axes: Axes) -> None:
    """Lines to read values by, and no box around them."""
    axes.set_axisbelow(True)
    axes.grid(color=LIGHT_GREY, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def unit_square(figure: Figure, axes: Axes, legend_title: str | None) -> None:
    """Frame the unit square; the legend stands below it, where no curve can run into it."""
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    plain_frame(axes)
    legend_below(figure, axes, legend_title, height_in=6.1)


def legend_below(figure: Figure, axes: Axes, title: str | None, *, height_in: float) -> None:
    """Put the legend below the axes and make the figure high enough for it.

    Args:
        figure: The figure.
        axes: Axes whose curves are explained.
        title: Heading of the legend.
        height_in: Height of everything else, inches.
    """
    handles, labels = axes.get_legend_handles_labels()
    num_lines = sum(str(text).count("\n") + 1 for text in labels) + (title is not None)
    figure.set_figheight(height_in + 0.27 * num_lines)
    style: Style = {"fontsize": TICK_PT, "title_fontsize": TICK_PT}
    figure.legend(handles, labels, loc="outside lower center", title=title, **style)


def colour(index: int) -> str:
    """Colour of one of several curves."""
    return COLOURS[index % len(COLOURS)]


def dashes(index: int) -> str:
    """Line style of one of several curves."""
    return DASHES[index % len(DASHES)]


def figure_to_array(figure: Figure) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a figure into an RGB picture, as MLflow's `log_image` takes it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")  # all is in its place; what is drawn next need not look again
    return np.array(pixels, dtype=np.uint8)[:, :, :3].copy()


def figure_to_svg(figure: Figure) -> str:
    """Write a figure as SVG; the same figure gives the same text, and text stays text."""
    content = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "asd_experiments"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
