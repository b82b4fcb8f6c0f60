"""The ablation table as a reader sees it, and its forms: CSV with all numbers, Markdown, LaTeX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from asd_experiments.evaluation.sampled import Estimate, goodness
from asd_experiments.evaluation.wording import (
    MINUS,
    NONE,
    figure_text,
    p_text,
    plain_markdown,
    title_of,
)
from asd_experiments.reporting.published import METHODS, READERS, SOURCE, UNIT, PublishedRow
from asd_experiments.reporting.readers import Reader
from asd_experiments.reporting.rows import ALPHA, Comparison, Row

TICK, CROSS, BOTH = "✓", "\N{EN DASH}", "both"
_TEX = {TICK: r"$\checkmark$", CROSS: "--", MINUS: "$-$", "Δ": r"$\Delta$"}
_COMPARED = ("auroc", "accuracy")


MOST_ROWS = 20
"""Rows that a run's note shows."""


@dataclass(frozen=True)
class Line:
    """A line of the table, every cell as text."""

    kind: str
    """model, reader or published."""

    cells: list[str]

    bold: frozenset[int] = frozenset()
    """Columns whose cell is the best, as far as tests support it."""

    run_id: str | None = None
    is_reference: bool = False


@dataclass(frozen=True)
class Table:
    """The ablation table."""

    columns: list[str]
    lines: list[Line]
    notes: list[str]


def make_table(
    comparison: Comparison,
    readers: Sequence[Reader],
    run_ids: Sequence[str],
    *,
    digits: int,
    published: bool,
) -> Table:
    """Lay the rows out, the best first, with what is needed to read them.

    Args:
        comparison: The rows.
        readers: Human readers of the same patients.
        run_ids: Runs of the trials.
        digits: Digits of the figures.
        published: Whether to add the published figures.
    """
    metrics = comparison.metrics
    tested = [metric for metric in _COMPARED if metric in metrics] or list(metrics[:1])
    columns = ["method", "segmentation", "optical flow"]
    columns += [f"{title_of(metric)} [95 % CI]" for metric in metrics]
    for metric in tested:
        columns += [f"Δ {title_of(metric)} [95 % CI]", f"p ({title_of(metric)}, Holm)"]
    columns += ["parameters", "GMACs", "training"]
    by = "auroc" if "auroc" in metrics else metrics[0]
    rows = sorted(comparison.rows, key=lambda row: -goodness(by, row.figures[by].value))
    lines = [_model_line(row, comparison, tested, run_ids, digits) for row in rows]
    lines += [_reader_line(reader, metrics, tested, digits) for reader in readers]
    if published:
        lines += [_published_line(row, metrics, len(columns)) for row in (*READERS, *METHODS)]
    notes = _notes(comparison, tested)
    return Table(columns, lines, [*notes, f"{UNIT} Source: {SOURCE}."] if published else notes)


def to_frame(
    comparison: Comparison,
    readers: Sequence[Reader],
    run_ids: Sequence[str],
    *,
    published: bool,
) -> pd.DataFrame:
    """All numbers, one row per line of the table, for a CSV file."""
    rows = [
        {
            "kind": "model",
            "method": row.name,
            **row.levels,
            "segmentation": row.segmentation,
            "optical_flow": row.optical_flow,
            "num_trials": len(row.members),
            "is_reference": row is comparison.reference,
            **_numbers(row.figures, row.differences, comparison.metrics),
            **{f"{m}_p_holm": row.adjusted.get(m) for m in comparison.metrics},
            **{f"{m}_best": comparison.best.get(m) is row for m in comparison.metrics},
            **row.size,
            "run_ids": " ".join(run_ids[index] for index in row.members),
        }
        for row in comparison.rows
    ]
    rows += [
        {
            "kind": "reader",
            "method": reader.name,
            "num_patients": reader.num_patients,
            "num_undecided": reader.num_undecided,
            **_numbers(reader.figures, reader.differences, comparison.metrics),
        }
        for reader in readers
    ]
    rows += [
        {
            "kind": "published",
            "method": row.name,
            "segmentation": row.segmentation,
            "optical_flow": row.optical_flow,
            **row.figures,
        }
        for row in (*READERS, *METHODS)
        if published
    ]
    return pd.DataFrame(rows)


def to_markdown(table: Table, most_rows: int) -> str:
    """The notes and the first rows of the table as Markdown.

    Args:
        table: The table.
        most_rows: Rows to show; the reference is always among them.
    """
    shown = table.lines[:most_rows]
    shown += [line for line in table.lines[most_rows:] if line.is_reference]
    lines = [f"| {' | '.join(table.columns)} |", f"|{'---|' * len(table.columns)}"]
    for line in shown:
        cells = [
            f"**{plain_markdown(cell)}**" if index in line.bold else plain_markdown(cell)
            for index, cell in enumerate(line.cells)
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if left_out := len(table.lines) - len(shown):
        lines += ["", f"{left_out} more rows: artifacts `ablation.html`, `ablation.csv`."]
    return "\n".join([*(f"{plain_markdown(note)}\n" for note in table.notes), *lines])


def to_latex(table: Table, caption: str) -> str:
    """The table for a paper: booktabs, the caption with all notes; needs booktabs and amssymb."""
    cells = [
        [
            rf"\textbf{{{_tex(cell)}}}" if index in line.bold else _tex(cell)
            for index, cell in enumerate(line.cells)
        ]
        for line in table.lines
    ]
    texts = pd.DataFrame(cells, columns=[_tex(column) for column in table.columns])
    return str(
        texts.style.hide(axis="index").to_latex(
            hrules=True,
            column_format="l" + "c" * (len(table.columns) - 1),
            caption=_tex(" ".join([caption, *table.notes])),
            label="tab:ablation",
            position="htbp",
            position_float="centering",
        )
    )


def _model_line(
    row: Row, comparison: Comparison, tested: Sequence[str], run_ids: Sequence[str], digits: int
) -> Line:
    metrics, is_reference = comparison.metrics, row is comparison.reference
    cells = [row.label, _tick(row.segmentation), _tick(row.optical_flow)]
    cells += [figure_text(row.figures[metric], digits=digits) for metric in metrics]
    for metric in tested:
        told = figure_text(row.differences.get(metric), signed=True, digits=digits)
        cells += ["reference" if is_reference else told, p_text(row.adjusted.get(metric))]
    cells += [_size_text(row.size["parameters"], 1e6, "M"), _size_text(row.size["gmacs"], 1.0, "")]
    cells += [_time_text(row.size["seconds"])]
    bold = frozenset(3 + i for i, m in enumerate(metrics) if comparison.best.get(m) is row)
    run_id = run_ids[row.members[0]] if len(row.members) == 1 else None
    return Line("model", cells, bold, run_id, is_reference)


def _reader_line(
    reader: Reader, metrics: Sequence[str], tested: Sequence[str], digits: int
) -> Line:
    cells = [f"reader {reader.name} (n = {reader.num_patients})", NONE, NONE]
    cells += [figure_text(reader.figures.get(metric), digits=digits) for metric in metrics]
    for metric in tested:
        difference = reader.differences.get(metric)
        cells += [figure_text(difference, signed=True, digits=digits), NONE]
    return Line("reader", [*cells, NONE, NONE, NONE])


def _published_line(row: PublishedRow, metrics: Sequence[str], num_columns: int) -> Line:
    cells = [f"published: {row.name}", _tick(row.segmentation, NONE), _tick(row.optical_flow, NONE)]
    cells += [f"{row.figures[m]:.4f}" if m in row.figures else NONE for m in metrics]
    return Line("published", cells + [NONE] * (num_columns - len(cells)))


def _notes(comparison: Comparison, tested: Sequence[str]) -> list[str]:
    sizes = sorted({len(cases) for cases in comparison.cases})
    num_cases = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    kinds = {
        title_of(m): sorted({row.differences[m].test for row in comparison.rows if row.differences})
        for m in tested
    }
    tests = "; ".join(f"{name}: {' or '.join(filter(None, of))}" for name, of in kinds.items())
    collapsed = [row.name for row in comparison.rows if row.collapsed]
    warnings = []
    if collapsed:
        warnings.append(
            "Collapsed folds, whose networks give (almost) all patients the same answer, are in: "
            f"{_listed(collapsed)}."
        )
    if len(sizes) > 1:
        warnings.append(
            f"The trials have different {comparison.unit}s, so they are compared through their "
            "patients alone; unit=patient is the better comparison."
        )
    return [
        _verdict(comparison),
        *warnings,
        f"Outer test {comparison.unit}s of all folds pooled (n = {num_cases}). Intervals: those of "
        "each trial's own run; of a row of several trials, bootstrap over patients. Δ: difference "
        "to the row “reference”, with the same draws of patients for both.",
        f"p: two-sided ({tests}), adjusted by Holm over {max(len(comparison.rows) - 1, 1)} "
        "comparisons.",
    ]


def _verdict(comparison: Comparison) -> str:
    """What the tests allow to be said, in a sentence for every metric."""
    sentences = [_verdict_by(comparison, metric) for metric in comparison.metrics]
    return " ".join(filter(None, sentences)) or "There is no test of these differences."


def _verdict_by(comparison: Comparison, metric: str) -> str:
    adjusted = {row.name: row.adjusted.get(metric) for row in comparison.rows}
    known = {name: p for name, p in adjusted.items() if p is not None}
    differing = [name for name, p in known.items() if p < ALPHA]
    name = title_of(metric)
    if best := comparison.best.get(metric):
        return f"By {name}, {best.name} is better than every other row."
    if differing:
        return (
            f"By {name}, {_listed(differing)} differ{'s' if len(differing) == 1 else ''} from the "
            "reference; no row is better than every other one, so none is bold."
        )
    if known:
        return (
            f"By {name}, no row differs from the reference: the smallest adjusted p is "
            f"{p_text(min(known.values()))}. That is no proof that they are equal."
        )
    return ""


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:3])
    more = len(names) - len(shown)
    return "; ".join(shown) + (f" and {more} more" if more else "")


def _numbers(
    figures: Mapping[str, Estimate],
    differences: Mapping[str, Estimate],
    metrics: Sequence[str],
) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {}
    for prefix, estimates in (("", figures), ("_difference", differences)):
        for metric in metrics:
            estimate = estimates.get(metric)
            name = f"{metric}{prefix}"
            numbers[name] = estimate.value if estimate else None
            interval = estimate.interval if estimate else None
            numbers[f"{name}_ci_low"] = interval.low if interval else None
            numbers[f"{name}_ci_high"] = interval.high if interval else None
            if prefix:
                numbers[f"{metric}_p"] = estimate.p if estimate else None
    return numbers


def _tick(flag: bool | None, unknown: str = BOTH) -> str:
    return unknown if flag is None else (TICK if flag else CROSS)


def _size_text(value: float, unit: float, suffix: str) -> str:
    return f"{value / unit:.3g}{suffix}" if np.isfinite(value) else NONE


def _time_text(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _tex(text: str) -> str:
    special = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "<": "$<$"}
    special |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", ">": "$>$"} | _TEX
    special |= {"“": "``", "”": "''"}
    return "".join(special.get(character, character) for character in text)
