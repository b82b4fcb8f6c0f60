"""A text with tables and figures, once as a page and once as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from asd_experiments.evaluation.wording import plain_markdown
from asd_experiments.tracking.page import page_environment, svg_markup


@dataclass(frozen=True)
class Table:
    """A table, every cell as text; the first cell of a row names it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure."""

    file: str
    """Where Markdown finds it, from its own folder."""

    caption: str
    figure: Figure


@dataclass(frozen=True)
class Listing:
    """Points of a list."""

    points: Sequence[str]


Block = str | Table | Picture | Listing
"""A paragraph, or what stands between two."""


@dataclass(frozen=True)
class Section:
    """What stands below a heading."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Document:
    """The whole text."""

    title: str
    lead: Sequence[str]
    """Paragraphs before the first heading."""

    sections: Sequence[Section]


def to_html(document: Document) -> str:
    """The document as one file that needs no network."""
    environment = page_environment("asd_experiments.registry")
    environment.tests |= {
        "table": lambda block: isinstance(block, Table),
        "picture": lambda block: isinstance(block, Picture),
        "listing": lambda block: isinstance(block, Listing),
    }
    environment.filters["svg"] = svg_markup
    return environment.get_template("document.html").render(title=document.title, document=document)


def to_markdown(document: Document) -> str:
    """The document as Markdown."""
    parts = [f"# {plain_markdown(document.title)}", *map(plain_markdown, document.lead)]
    return "\n\n".join([*parts, *map(section_markdown, document.sections)]) + "\n"


def section_markdown(section: Section) -> str:
    """A section as Markdown."""
    blocks = [_block_markdown(block) for block in section.blocks]
    return "\n\n".join([f"## {plain_markdown(section.title)}", *blocks])


def table_markdown(table: Table) -> str:
    """A table as Markdown, its caption above it."""
    lines = [f"*{plain_markdown(table.caption)}*", ""] if table.caption else []
    lines += [_line(table.columns), f"|{'---|' * len(table.columns)}"]
    return "\n".join([*lines, *(_line(row) for row in table.rows)])


def _block_markdown(block: Block) -> str:
    match block:
        case Table():
            return table_markdown(block)
        case Picture():
            return f"![{plain_markdown(block.caption)}]({block.file})"
        case Listing():
            return "\n".join(f"- {plain_markdown(point)}" for point in block.points)
    return plain_markdown(block)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(plain_markdown(cell) for cell in cells)} |"
