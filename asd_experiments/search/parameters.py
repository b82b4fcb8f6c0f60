"""Free parameters of a search space, and the conditions between them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from asd_experiments.search.document import Node, Problems, Table
from asd_experiments.search.domains import Domain, read_domain, read_values
from asd_experiments.search.values import Value, is_known, may_differ, written

Assignment = Mapping[str, tuple[Value, ...]]
"""Values by parameter: it holds where each of these parameters has one of its values."""


@dataclass(frozen=True)
class Parameter:
    """A parameter that a sweep varies."""

    name: str
    domain: Domain
    when: Assignment = field(default_factory=dict)
    """Other parameters whose values decide whether this one is varied; it has its default
    otherwise. Empty: always."""

    def is_active(self, drawn: Mapping[str, Value]) -> bool:
        """Whether it is varied, given the values of the parameters before it."""
        return holds(self.when, drawn)


def holds(assignment: Assignment, drawn: Mapping[str, Value]) -> bool:
    """Whether every parameter of an assignment has been drawn, and is one of its values."""
    return all(name in drawn and drawn[name] in values for name, values in assignment.items())


@dataclass(frozen=True)
class Names:
    """Names that stand in a search space, for the messages about one that does not."""

    free: tuple[str, ...] = ()
    """Under `parameters`, those with problems too."""

    fixed: Mapping[str, int] = field(default_factory=dict)
    """Under `fixed`, with their lines."""


def read_parameters(
    node: Node, fixed: Mapping[str, int], problems: Problems
) -> dict[str, Parameter]:
    """Read the free parameters.

    Args:
        node: What stands under `parameters`.
        fixed: Lines of the fixed parameters, which cannot be free as well.
        problems: Where problems are kept.

    Returns:
        Those that could be read, in the order of the file, but none before one that it depends on.
    """
    if not isinstance(node, Table) or not node.entries:
        problems.add(node.line, f"parameters: must be names with what to try, got {node}")
        return {}
    parameters = {}
    for name, entry in node.entries.items():
        line = node.lines[name]
        if name in fixed:
            problems.add(line, f"{name}: is fixed in line {fixed[name]}, so it cannot be searched")
        elif (
            is_known(name, line, problems)
            and may_differ(name, line, problems, searched=True)
            and (domain := read_domain(name, entry, problems))
        ):
            parameters[name] = Parameter(name, domain)
    names = Names(tuple(node.entries), fixed)
    for name in parameters:
        entry = node.entries[name]
        if isinstance(entry, Table) and "when" in entry.entries:
            condition = entry.entries["when"]
            when = read_assignment(f"{name}: when", condition, parameters, names, problems)
            parameters[name] = replace(parameters[name], when=when)
    return _in_order(parameters, node.lines, problems)


def read_assignment(
    where: str,
    node: Node,
    parameters: Mapping[str, Parameter],
    names: Names,
    problems: Problems,
) -> Assignment:
    """Read a condition, or a combination to leave out.

    Args:
        where: Words before every message.
        node: Names of free parameters, each with one value or a list of them.
        parameters: The free parameters that could be read.
        names: Names in the file.
        problems: Where problems are kept.
    """
    if not isinstance(node, Table) or not node.entries:
        problems.add(node.line, f"{where}: must be names of parameters with values, got {node}")
        return {}
    assignment: dict[str, tuple[Value, ...]] = {}
    for name, entry in node.entries.items():
        line = node.lines[name]
        if name in parameters:
            values = read_values(f"{where}: {name}", name, entry, problems)
            for value, value_line in values:
                if value not in parameters[name].domain:
                    problems.add(value_line, f"{where}: {name} is never {written(value)} here")
            assignment[name] = tuple(value for value, _ in values)
        elif name in names.fixed:
            problems.add(line, f"{where}: {name} is fixed in line {names.fixed[name]}")
        elif name not in names.free:
            problems.unknown(line, name, names.free, what="free parameter", where=where)
    return assignment


def _in_order(
    parameters: Mapping[str, Parameter], lines: Mapping[str, int], problems: Problems
) -> dict[str, Parameter]:
    """Each parameter after those that it depends on, otherwise as in the file."""
    waiting, ordered = dict(parameters), dict[str, Parameter]()
    while waiting:
        ready = next((p for p in waiting.values() if not waiting.keys() & p.when.keys()), None)
        if ready is None:
            circle = " -> ".join(_circle(waiting))
            first = min(waiting, key=lines.__getitem__)
            problems.add(lines[first], f"{first}: when goes round in a circle: {circle}")
            return {}
        ordered[ready.name] = waiting.pop(ready.name)
    return ordered


def _circle(waiting: Mapping[str, Parameter]) -> Iterator[str]:
    """Names of parameters that wait for each other, the first one again at the end."""
    path = [next(iter(waiting))]
    while len(set(path)) == len(path):
        path.append(next(name for name in waiting[path[-1]].when if name in waiting))
    return iter(path[path.index(path[-1]) :])
