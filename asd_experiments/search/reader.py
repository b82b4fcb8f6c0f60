"""Reads a search space from its file, and refuses it with every problem by line."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from asd_experiments.search.document import Listing, Problems, Scalar, Table, read_document
from asd_experiments.search.parameters import (
    Assignment,
    Names,
    Parameter,
    read_assignment,
    read_parameters,
)
from asd_experiments.search.rules import check_combinations, check_sections
from asd_experiments.search.settings import (
    Budget,
    Objective,
    Pruner,
    Sampler,
    Settings,
    read_settings,
)
from asd_experiments.search.space import Row, SearchSpace
from asd_experiments.search.values import Value, is_known, may_differ, read_value
from asd_experiments.user_file import read_file

SECTIONS = (
    *("name", "description", "objective", "objectives", "sampler", "pruner", "budget"),
    *("fixed", "parameters", "exclude", "rows"),
)


def load_space(path: str | Path, *, defaults: Mapping[str, object] | None = None) -> SearchSpace:
    """Read a search space and check everything that can be checked before anything runs.

    Args:
        path: The file.
        defaults: What the sweep closes open parameters with before `TrialConfig` does, such as
            the demo's; None: nothing.

    Raises:
        InputError: With all problems, each with file, line and parameter.
    """
    content = read_file(Path(path), "space")
    problems = Problems(str(path))
    document = read_document(content, problems)
    for name in document.entries:
        if name not in SECTIONS:
            problems.unknown(document.lines[name], name, SECTIONS, what="section")
    fixed = _read_fixed(document, problems)
    parameters = _read_parameters(document, problems)
    space = SearchSpace(
        name=_read_text(document, "name", problems) or Path(path).stem,
        sha256=hashlib.sha256(content).hexdigest(),
        description=_read_text(document, "description", problems),
        objectives=_read_objectives(document, problems),
        sampler=_read_group(Sampler, document, problems, short="name") or Sampler(),
        pruner=_read_group(Pruner, document, problems, short="name") or Pruner(),
        budget=_read_group(Budget, document, problems, short="trials") or Budget(),
        fixed=fixed,
        parameters=tuple(parameters.values()),
        exclude=_read_exclude(document, parameters, problems),
        rows=_read_rows(document, problems),
    )
    problems.raise_if_any()
    check_sections(space, document, problems)
    problems.raise_if_any()
    check_combinations(space, document, defaults or {}, problems)
    problems.raise_if_any()
    return space


def _read_text(document: Table, name: str, problems: Problems) -> str:
    node = document.entries.get(name)
    if node is None:
        return ""
    if not isinstance(node, Scalar) or node.is_null or not node.text.strip():
        problems.add(node.line, f"{name}: must be a text, got {node}")
        return ""
    return node.text.strip()


def _read_objectives(document: Table, problems: Problems) -> tuple[Objective, ...]:
    given = [name for name in ("objective", "objectives") if name in document.entries]
    if not given:
        problems.add(1, "objective: must be given: a metric and its direction")
        return ()
    name, *others = given
    node = document.entries[name]
    if others:
        problems.add(document.lines[others[0]], f"{others[0]}: give one of objective, objectives")
    items = node.items if isinstance(node, Listing) else (node,)
    read = [read_settings(Objective, name, item, problems) for item in items]
    found = tuple(objective for objective in read if objective is not None)
    if not items or len({objective.metric for objective in found}) < len(found):
        problems.add(node.line, f"{name}: must be at least one metric, each of them once")
    return found


def _read_group(
    kind: type[Settings], document: Table, problems: Problems, *, short: str
) -> Settings | None:
    name = kind.__name__.lower()
    node = document.entries.get(name)
    return None if node is None else read_settings(kind, name, node, problems, short=short)


def _read_fixed(document: Table, problems: Problems) -> dict[str, Value]:
    node = document.entries.get("fixed", Table({}, line=1))
    if not isinstance(node, Table):
        problems.add(node.line, f"fixed: must be parameters with their values, got {node}")
        return {}
    return {
        name: value
        for name, entry in node.entries.items()
        if is_known(name, node.lines[name], problems)
        for value in read_value(name, entry, problems)
    }


def _read_parameters(document: Table, problems: Problems) -> dict[str, Parameter]:
    if "parameters" not in document.entries:
        return {}
    return read_parameters(document.entries["parameters"], _lines(document, "fixed"), problems)


def _read_exclude(
    document: Table, parameters: Mapping[str, Parameter], problems: Problems
) -> tuple[Assignment, ...]:
    node = document.entries.get("exclude", Listing((), line=1))
    if not isinstance(node, Listing):
        problems.add(node.line, f"exclude: must be a list of combinations, got {node}")
        return ()
    names = Names(tuple(_lines(document, "parameters")), _lines(document, "fixed"))
    return tuple(
        read_assignment("exclude", item, parameters, names, problems) for item in node.items
    )


def _read_rows(document: Table, problems: Problems) -> tuple[Row, ...]:
    if "rows" not in document.entries:
        return ()
    node, fixed = document.entries["rows"], _lines(document, "fixed")
    if not isinstance(node, Table) or not node.entries:
        problems.add(node.line, f"rows: must be names with the parameters of each, got {node}")
        return ()
    rows = []
    for row, entry in node.entries.items():
        if isinstance(entry, Table):
            rows.append(Row(row, _read_row(row, entry, fixed, problems)))
        else:
            problems.add(node.lines[row], f"{row}: must be parameters with values, got {entry}")
    return tuple(rows)


def _read_row(
    row: str, node: Table, fixed: Mapping[str, int], problems: Problems
) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, entry in node.entries.items():
        line = node.lines[name]
        if name in fixed:
            problems.add(line, f"{row}: {name} is fixed in line {fixed[name]}")
        elif is_known(name, line, problems) and may_differ(name, line, problems, searched=False):
            for value in read_value(name, entry, problems, where=f"{row}: {name}"):
                values[name] = value
    return values


def _lines(document: Table, section: str) -> Mapping[str, int]:
    """Lines of the names in a section."""
    node = document.entries.get(section)
    return node.lines if isinstance(node, Table) else {}
