"""The ablation as one HTML file: it needs no network, reads light and dark, and prints."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from asd_experiments.evaluation.wording import figure_text, p_text, title_of
from asd_experiments.reporting.effects import Effect
from asd_experiments.reporting.table import Table
from asd_experiments.tracking.optimism import Optimism
from asd_experiments.tracking.page import page_environment, svg_markup

_CAPTIONS = {
    "effects": "Main effects: marginal means over the other parameters",
    "readers": "Human readers beside the reference row",
}


def render(
    *,
    title: str,
    told: str,
    table: Table,
    effects: Sequence[Effect],
    prices: Sequence[Optimism],
    figures: Mapping[str, Figure],
    metric: str,
    made_at: str,
) -> str:
    """Write the page.

    Args:
        title: Its heading.
        told: How many configurations were tried.
        table: The ablation table.
        effects: Main effects.
        prices: What choosing a winner cost.
        figures: By name.
        metric: Metric of the main effects.
        made_at: When the page was made.
    """
    environment = page_environment("asd_experiments.reporting")
    environment.globals |= {"figure": figure_text, "p": p_text}
    return environment.get_template("ablation.html").render(
        title=title,
        told=told,
        table=table,
        effects=effects,
        prices=prices,
        figures=[(_caption(name), svg_markup(figure)) for name, figure in figures.items()],
        metric=title_of(metric),
        made_at=made_at,
    )


def _caption(name: str) -> str:
    return _CAPTIONS.get(name) or f"{title_of(name.removeprefix('rows_'))} of every row"
