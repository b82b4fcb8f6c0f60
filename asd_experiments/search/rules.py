"""What has to fit together in a search space."""

from collections.abc import Mapping, Sequence
from functools import partial

from asd_experiments.search.combinations import (
    LINKED,
    Drawn,
    Refusal,
    TooManyCombinationsError,
    combinations,
    find_refusals,
    identity,
    why_impossible,
)
from asd_experiments.search.document import Problems, Table
from asd_experiments.search.domains import Choices
from asd_experiments.search.parameters import Parameter
from asd_experiments.search.settings import Budget
from asd_experiments.search.space import SearchSpace, all_values
from asd_experiments.search.values import Value, written

_WITHOUT_CONDITIONS = ("gp", "nsga2", "qmc")
_CLIPS = ("clip_length", "clip_stride")
_MOST_VALUES = 64
_MOST_NAMED = 20


def check_sections(space: SearchSpace, document: Table, problems: Problems) -> None:
    """Refuse sections that contradict each other.

    Args:
        space: The space; each of its sections is right by itself.
        document: Where it stands, for the lines.
        problems: Where problems are kept.
    """
    if space.rows:
        _check_rows(space, document, problems)
    elif not space.parameters:
        problems.add(1, "parameters: must be given, or rows: what is to be tried")
    elif space.sampler.name == "grid":
        _check_grid(space, document, problems)
    elif space.budget == Budget():
        line = document.lines.get("budget", 1)
        problems.add(line, "budget: must have trials, hours or both: nothing else ends this search")
    _check_sampler(space, document, problems)
    _check_pruner(space, document, problems)
    _check_clips(space, document, problems)


def check_combinations(
    space: SearchSpace, document: Table, defaults: Mapping[str, object], problems: Problems
) -> None:
    """Refuse values that cannot be trained together.

    Of a grid and of rows everything is built. Otherwise all values of parameters that depend on
    each other are combined; the others are right by themselves.

    Args:
        space: The space; its sections fit together.
        document: Where it stands, for the lines.
        defaults: What the sweep closes open parameters with.
        problems: Where problems are kept.
    """
    if space.rows:
        _check_each_row(space, document, defaults, problems)
        return
    line = document.lines["parameters"]
    values_of = all_values if space.is_listed else partial(_combined_values, linked=_linked(space))
    try:
        combined = combinations(space.parameters, space.exclude, values_of)
    except TooManyCombinationsError as error:
        problems.add(line, f"parameters: {error}; take fewer, or leave more out")
        return
    if not combined:
        problems.add(line, "parameters: exclude leaves no combination")
        return
    refusals = find_refusals(space.fixed, combined, defaults)
    for refusal in refusals[:_MOST_NAMED]:
        _report(refusal, len(combined), document, problems)
    if len(refusals) > _MOST_NAMED:
        problems.add(line, f"parameters: and {len(refusals) - _MOST_NAMED} more of this kind")
    if not refusals:
        _check_use(space, combined, document, problems)


def _check_rows(space: SearchSpace, document: Table, problems: Problems) -> None:
    for section in ("parameters", "exclude", "sampler"):
        if section in document.entries:
            line = document.lines[section]
            problems.add(line, f"{section}: has no place beside rows, which are tried as they are")
    if space.pruner.name != "none":
        line = document.lines["pruner"]
        problems.add(line, "pruner: a row that was stopped early has no result; leave it out")
    if space.budget.trials is not None:
        problems.add(document.lines["budget"], "budget: all rows are tried; leave trials out")


def _check_grid(space: SearchSpace, document: Table, problems: Problems) -> None:
    for parameter in space.parameters:
        if parameter.domain.values is None:
            problems.add(
                _line_of(document, "parameters", parameter.name),
                f"{parameter.name}: a grid needs an end of values; give choices, or a step "
                "without log",
            )


def _check_sampler(space: SearchSpace, document: Table, problems: Problems) -> None:
    conditional = [parameter for parameter in space.parameters if parameter.when]
    if space.sampler.name in _WITHOUT_CONDITIONS and conditional:
        problems.add(
            document.lines["sampler"],
            f"sampler: {space.sampler.name} draws parameters with a condition "
            f"({conditional[0].name}) blindly; choose tpe, random or grid",
        )
    seeded = any(parameter.name == "seed" for parameter in space.parameters)
    if seeded and not space.is_listed:
        problems.add(
            _line_of(document, "parameters", "seed"),
            "seed: is luck, and a search that may choose it chooses luck; take sampler: grid to "
            "repeat every configuration, or write one seed under fixed",
        )


def _check_pruner(space: SearchSpace, document: Table, problems: Problems) -> None:
    if space.pruner.name == "none":
        return
    line = document.lines["pruner"]
    if len(space.objectives) > 1:
        problems.add(
            line,
            f"pruner: {space.pruner.name} compares trials by one metric, got "
            f"{len(space.objectives)} objectives; choose none",
        )
    if any(parameter.name == "epochs" for parameter in space.parameters):
        problems.add(
            line,
            f"pruner: {space.pruner.name} compares trials after the same epochs, so epochs cannot "
            "be searched with it; choose none, or write epochs under fixed",
        )


def _check_clips(space: SearchSpace, document: Table, problems: Problems) -> None:
    """A metric over clips means something else in every trial that cuts others."""
    varied = {parameter.name for parameter in space.parameters}
    for name in _CLIPS:
        if space.rows and len({row.parameters.get(name) for row in space.rows}) > 1:
            varied.add(name)
    for objective in space.objectives:
        if objective.metric.startswith("val/clip/") and (cut := [n for n in _CLIPS if n in varied]):
            section = "objective" if "objective" in document.lines else "objectives"
            problems.add(
                document.lines[section],
                f"{section}: {objective.metric} would be of other clips in every trial, as "
                f"{cut[0]} is searched; choose {objective.metric.replace('/clip/', '/patient/')}",
            )


def _check_each_row(
    space: SearchSpace, document: Table, defaults: Mapping[str, object], problems: Problems
) -> None:
    first: dict[tuple[object, ...], str] = {}
    for row in space.rows:
        given = {**space.fixed, **row.parameters}
        line = _line_of(document, "rows", row.name)
        if reason := why_impossible(given, defaults):
            problems.add(line, f"{row.name}: cannot be trained: {reason}")
        elif (same := first.setdefault(identity(given), row.name)) != row.name:
            problems.add(line, f"{row.name}: is the same configuration as {same}")


def _linked(space: SearchSpace) -> set[str]:
    """Parameters that have to be combined: whether one is right may hang on another."""
    referred = {name for parameter in space.parameters for name in parameter.when}
    return {*LINKED, *referred, *(name for assignment in space.exclude for name in assignment)}


def _combined_values(parameter: Parameter, linked: set[str]) -> Sequence[Value]:
    """Values of a parameter of a search that is not listed; one, where nothing hangs on it."""
    values = parameter.domain.values
    if parameter.name not in linked:
        return parameter.domain.extremes[:1]
    return parameter.domain.extremes if values is None or len(values) > _MOST_VALUES else values


def _report(refusal: Refusal, total: int, document: Table, problems: Problems) -> None:
    if not refusal.assignment:
        problems.add(document.lines["parameters"], f"parameters: {refusal}")
        return
    line = max(_line_of(document, "parameters", name) for name in refusal.assignment)
    if len(refusal.assignment) == 1:
        remedy = "take it out"
    else:
        remedy = f"give one of them a when:, or put under exclude: - {refusal.as_written}"
    problems.add(line, f"{refusal} ({refusal.count} of {total} combinations); {remedy}")


def _check_use(
    space: SearchSpace, combined: list[Drawn], document: Table, problems: Problems
) -> None:
    """Refuse what is written down but never tried, which its author would not expect."""
    for parameter in space.parameters:
        line = _line_of(document, "parameters", parameter.name)
        used = {drawn[parameter.name] for drawn in combined if parameter.name in drawn}
        if not used:
            problems.add(line, f"{parameter.name}: its when: never holds")
        elif isinstance(parameter.domain, Choices) and space.is_listed:
            for value in (value for value in parameter.domain.values if value not in used):
                problems.add(line, f"{parameter.name}: {written(value)} is in no combination")


def _line_of(document: Table, section: str, name: str) -> int:
    node = document.entries[section]
    return node.lines[name] if isinstance(node, Table) else node.line
