"""Values of a search space: which parameters it may set, and how a written value is read."""

import math
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError

from asd_experiments.config import TrainConfig, choices_of, info_of
from asd_experiments.errors import did_you_mean, rule_of
from asd_experiments.search.document import Node, Problems, Scalar

Value = bool | int | float | str | None
"""A value of one parameter; None: not given."""

_OF_THE_SWEEP = {
    "store": "all trials read the clip store that the sweep is given",
    "anonymise": "what is logged changes no result; give it to the sweep",
    "pseudonym_key": "what is logged changes no result; give it to the sweep",
    "checkpoints": "where files lie changes no result; give it to the sweep",
    "resume": "a sweep is resumed as a whole",
    "run_name": "runs are named after what is tried in them",
    "device": "where trials are trained is given to the sweep",
    "loader_workers": "it changes how fast clips are read, not the result; give it to the sweep",
    "find_batch_size": "the batch would follow the machine that a trial happens to get; "
    "search batch_size instead",
}
_THE_SAME_FOR_ALL = {
    "positive_class": "trials would be judged by different classes",
    "group_by": "trials would be judged on different folds",
    "folds": "trials would be judged on different folds",
    "inner_folds": "trials would be judged on different patients",
}
_NOT_WORTH_A_SEARCH = {
    "gradient_checkpointing": "it changes memory and time, not the result",
    "final": "it chooses what the logged model answers with, not what a trial is judged by",
}


def is_known(name: str, line: int, problems: Problems) -> bool:
    """Whether a name is one that a space may set at all; if not, why is kept as a problem."""
    if name in _OF_THE_SWEEP:
        problems.add(line, f"{name}: not part of a search space: {_OF_THE_SWEEP[name]}")
        return False
    known = [f.name for f in fields(TrainConfig) if f.name not in _OF_THE_SWEEP]
    if name not in known:
        problems.unknown(line, name, known, what="parameter of train")
    return name in known


def may_differ(name: str, line: int, problems: Problems, *, searched: bool) -> bool:
    """Whether trials may differ in a parameter; if not, why is kept as a problem.

    Args:
        name: The parameter, which a space may set.
        line: Where it stands.
        problems: Where a refusal is kept.
        searched: Whether its values are searched through, rather than set row by row.
    """
    reason = _THE_SAME_FOR_ALL.get(name)
    if reason is None and searched:
        reason = _NOT_WORTH_A_SEARCH.get(name)
    if reason is not None:
        problems.add(line, f"{name}: {reason}; write its one value under fixed")
    return reason is None


def number_type(name: str) -> type[int] | type[float] | None:
    """The kind of number that a parameter is; None: no number."""
    types = _types(info_of(TrainConfig, name).annotation)
    return next((kind for kind in (int, float) if kind in types), None)


def read_value(
    name: str, node: Node, problems: Problems, *, where: str | None = None
) -> list[Value]:
    """Read a value of a parameter, as `train` reads it from its command line.

    Args:
        name: The parameter.
        node: The value, as it was written.
        problems: Where problems are kept.
        where: Words before the messages. None: the name.

    Returns:
        The value alone in a list, which is empty if it is wrong: then why is kept as a problem.
    """
    if not isinstance(node, Scalar):
        problems.add(node.line, f"{where or name}: must be one value, got {node}")
        return []
    try:
        return [parse_value(name, node)]
    except ValueError as error:
        problems.add(node.line, f"{where or name}: {error}")
        return []


def parse_value(name: str, scalar: Scalar) -> Value:
    """Read a value of a parameter.

    Raises:
        ValueError: If it is none; the message has the rule, the value and the close choice.
    """
    try:
        value: Value = _reader_of(name)(None if scalar.is_null else scalar.text)
    except ValidationError as error:
        if scalar.is_null:
            raise ValueError("must not be null; leave it out for its default") from None
        rule = rule_of(error.errors()[0]["msg"])
        raise ValueError(f"{rule}, got {scalar}{_hint(name, scalar)}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, got {scalar}")
    return value


def written(value: Value) -> str:
    """A value as a search space has it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def _reader_of(name: str) -> Callable[[object], Any]:
    info = info_of(TrainConfig, name)
    annotated: Any = Annotated[info.annotation, Field(), *info.metadata]
    return TypeAdapter(annotated).validate_python


def _hint(name: str, scalar: Scalar) -> str:
    annotation = info_of(TrainConfig, name).annotation
    if type(None) in get_args(annotation) and scalar.text.lower() == "none":
        return "; write null for 'not given'"
    return did_you_mean(scalar.text, choices_of(annotation))


def _types(annotation: object) -> set[object]:
    """The plain types in an annotation, those in unions and below `Annotated` too."""
    parts = get_args(annotation)
    if not parts:
        return {annotation}
    return {kind for part in parts if not isinstance(part, str) for kind in _types(part)}
