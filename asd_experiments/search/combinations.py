"""Every combination of a space's values, and those that cannot be trained."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from asd_experiments.config import TrainConfig, close_defaults
from asd_experiments.errors import rule_of
from asd_experiments.models.pretrained import check_published
from asd_experiments.models.two_stream import check_two_stream
from asd_experiments.search.parameters import Assignment, Parameter, holds
from asd_experiments.search.values import Value, written

MAX_COMBINATIONS = 100_000
"""Most combinations that are looked at: each takes some 50 microseconds to check."""

LINKED = (
    *("backbone", "motion_backbone", "fusion", "clip_length", "size", "width"),
    *("pretrained", "motion_pretrained", "freeze"),
)
"""Parameters whose values may exclude each other; all others are right or wrong by themselves."""

Drawn = dict[str, Value]
"""Values of the free parameters that are active."""


class TooManyCombinationsError(ValueError):
    """A space has more than `MAX_COMBINATIONS`."""


@dataclass(frozen=True)
class Refusal:
    """Values that cannot be trained together."""

    assignment: Assignment
    """The fewest values that exclude each other; empty: no combination can be trained."""

    count: int
    """Combinations that have them."""

    reason: str
    """Why, for the first of these combinations."""

    def __str__(self) -> str:
        named = ", ".join(
            f"{name}={' or '.join(map(written, values))}"
            for name, values in self.assignment.items()
        )
        start = f"{named} cannot" if named else "nothing in this space can"
        return f"{start} be trained: {self.reason}"

    @property
    def as_written(self) -> str:
        """As it would stand under `exclude`."""
        entries = (f"{name}: {_any_of(values)}" for name, values in self.assignment.items())
        return f"{{{', '.join(entries)}}}"


def _any_of(values: Sequence[Value]) -> str:
    texts = [written(value) for value in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def combinations(
    parameters: Iterable[Parameter],
    exclude: Sequence[Assignment],
    values_of: Callable[[Parameter], Sequence[Value]],
) -> list[Drawn]:
    """All combinations that conditions and exclusions leave, the first parameter varying slowest.

    Args:
        parameters: Free parameters, none before one that it depends on.
        exclude: What to leave out.
        values_of: Values of a parameter to combine.

    Raises:
        TooManyCombinationsError: If there are more than `MAX_COMBINATIONS`.
    """
    combined: list[Drawn] = [{}]
    for parameter in parameters:
        values = values_of(parameter)
        longer = (
            drawn | chosen
            for drawn in combined
            for chosen in (
                [{parameter.name: value} for value in values]
                if parameter.is_active(drawn)
                else [{}]
            )
        )
        combined = []
        for drawn in longer:
            if not any(holds(assignment, drawn) for assignment in exclude):
                combined.append(drawn)
            if len(combined) > MAX_COMBINATIONS:
                raise TooManyCombinationsError(f"more than {MAX_COMBINATIONS:,} combinations")
    return combined


def distinct(fixed: Mapping[str, Value], combined: Iterable[Drawn]) -> list[Drawn]:
    """The first of all combinations that come to the same configuration."""
    first: dict[tuple[object, ...], Drawn] = {}
    for drawn in combined:
        first.setdefault(identity({**fixed, **drawn}), drawn)
    return list(first.values())


def identity(given: Mapping[str, Any]) -> tuple[object, ...]:
    """What a configuration comes to, the same for two that are written differently.

    Args:
        given: Parameters of `TrainConfig` that can be trained.
    """
    config = TrainConfig(**given)
    values = dict(vars(config))
    for name in ("backbone", "pretrained"):  # the motion stream's own are not given, or the same
        other = "motion_" + name
        values[other] = None if values[other] == values[name] else values[other]
    return tuple(values[name] for name in TrainConfig.__dataclass_fields__)


def why_impossible(given: Mapping[str, Any], defaults: Mapping[str, object]) -> str | None:
    """Why a configuration cannot be trained on any machine; None: it can.

    Args:
        given: Parameters of `TrainConfig`, each right by itself.
        defaults: What the sweep closes open parameters with, before `TrialConfig` does.
    """
    try:
        trial = close_defaults(TrainConfig(**given), **defaults)
    except ValidationError as error:
        return "; ".join(rule_of(detail["msg"]) for detail in error.errors())
    network = {name: value for name, value in trial.network.items() if name != "dropout"}
    return _why_not_built(
        tuple(network.items()),
        pretrained=trial.pretrained,
        motion_pretrained=trial.motion_pretrained,
    )


@lru_cache(maxsize=MAX_COMBINATIONS)
def _why_not_built(
    network: tuple[tuple[str, Any], ...], *, pretrained: str | None, motion_pretrained: str | None
) -> str | None:
    arguments = dict(network)
    names = ("backbone", "fusion", "motion_backbone")
    try:
        check_two_stream(**arguments)
        check_published(
            **{name: arguments[name] for name in names},
            pretrained=pretrained,
            motion_pretrained=motion_pretrained,
        )
    except ValueError as error:
        return str(error)
    return None


def find_refusals(
    fixed: Mapping[str, Value], combined: Sequence[Drawn], defaults: Mapping[str, object]
) -> list[Refusal]:
    """Find the values that cannot be trained together, as few for each reason as tell it.

    Args:
        fixed: Values that all trials share.
        combined: All combinations of the free parameters.
        defaults: What the sweep closes open parameters with.
    """
    reasons = [why_impossible({**fixed, **drawn}, defaults) for drawn in combined]
    possible = [drawn for drawn, reason in zip(combined, reasons, strict=True) if reason is None]
    waiting = [(d, reason) for d, reason in zip(combined, reasons, strict=True) if reason]
    refusals: list[Refusal] = []
    while waiting:
        drawn, reason = waiting[0]
        assignment = _fewest({n: (v,) for n, v in drawn.items()}, reason, possible)
        others = [entry for entry in waiting if not holds(assignment, entry[0])]
        refusals.append(Refusal(assignment, len(waiting) - len(others), reason))
        waiting = others
    return _joined(refusals)


def _fewest(assignment: Assignment, reason: str, possible: Sequence[Drawn]) -> Assignment:
    """Drop values without which the assignment still holds for nothing that is possible.

    What the reason speaks of is dropped last, so that the others do not stand for it.
    """

    def is_spoken_of(name: str) -> bool:
        return name in reason or any(written(value) in reason for value in assignment[name])

    latest_first = [*assignment]
    latest_first.reverse()
    for name in sorted(latest_first, key=is_spoken_of):
        fewer = {other: values for other, values in assignment.items() if other != name}
        if not any(holds(fewer, drawn) for drawn in possible):
            assignment = fewer
    return assignment


def _joined(refusals: list[Refusal]) -> list[Refusal]:
    """Join those that differ in the values of one parameter, for the same reason."""
    joined: list[Refusal] = []
    for refusal in refusals:
        for number, other in enumerate(joined):
            name = _only_difference(refusal, other)
            if name is not None:
                values = other.assignment[name] + refusal.assignment[name]
                joined[number] = Refusal(
                    {**other.assignment, name: values}, other.count + refusal.count, other.reason
                )
                break
        else:
            joined.append(refusal)
    return joined


def _only_difference(refusal: Refusal, other: Refusal) -> str | None:
    if refusal.assignment.keys() != other.assignment.keys() or not refusal.assignment:
        return None
    differing = [n for n, values in refusal.assignment.items() if other.assignment[n] != values]
    if len(differing) != 1 or _rule(refusal) != _rule(other):
        return None
    return differing[0]


def _rule(refusal: Refusal) -> str:
    """The reason without the values."""
    rule = refusal.reason
    for value in (value for values in refusal.assignment.values() for value in values):
        rule = rule.replace(written(value), "*")
    return rule
