"""Pages that need no network, read light and dark, and print: what they have in common."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from asd_experiments.evaluation.figures.style import figure_to_svg


def page_environment(package: str) -> Environment:
    """Templates of a package, which may extend `page.html` of this one.

    Args:
        package: Its name; the templates are in its folder `templates`.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("asd_experiments.tracking")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def svg_markup(figure: Figure) -> Markup:
    """A figure as markup of a page."""
    text = figure_to_svg(figure)
    return Markup(text[text.index("<svg") :])
