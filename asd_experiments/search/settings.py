"""How a sweep goes: what it is judged by, how it draws, what it stops early, when it ends."""

from dataclasses import fields
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from asd_experiments.config import choices_of, info_of
from asd_experiments.errors import did_you_mean, rule_of
from asd_experiments.evaluation.metrics import METRICS
from asd_experiments.evaluation.predictions import UNITS
from asd_experiments.search.document import Node, Problems, Scalar, Table

SamplerName = Literal["tpe", "random", "grid", "qmc", "nsga2", "gp"]
PrunerName = Literal["asha", "hyperband", "none"]
Direction = Literal["maximize", "minimize"]

_WITH_A_SENSE = [name for name, sense in METRICS.items() if sense]

OBJECTIVES = (
    *(f"val/{unit}/{name}" for unit in reversed(UNITS) for name in _WITH_A_SENSE),
    *(f"val/{unit}/{name}_fold_mean" for unit in reversed(UNITS) for name in _WITH_A_SENSE),
)
"""Metrics that a sweep may be judged by."""

_SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, config=_SETTINGS)
class Objective:
    """A metric by which trials are compared."""

    metric: str
    """Name of a metric of the inner validation patients."""

    direction: Direction
    """Whether more of it is better."""

    @model_validator(mode="after")
    def _is_fair(self) -> "Objective":
        if self.metric.startswith("test/"):
            raise ValueError(
                f"metric: must begin with val/, got {self.metric!r}: the outer test patients tell "
                "how good the chosen configuration is, so they must not choose it"
            )
        if METRICS.get(self._name, "some") is None:
            raise ValueError(
                f"metric: must be one that is better the higher or the lower it is, got "
                f"{self.metric!r}; choose e.g. {OBJECTIVES[3]!r}"
            )
        if self.metric not in OBJECTIVES:
            hint = did_you_mean(self.metric, OBJECTIVES) or f"; choose e.g. {OBJECTIVES[3]!r}"
            raise ValueError(
                f"metric: must be a metric of the inner validation patients, got "
                f"{self.metric!r}{hint}"
            )
        if self.direction != self.better:
            raise ValueError(
                f"direction: {self.metric} is better the {self._trend} it is, so direction must be "
                f"{self.better}, got {self.direction!r}"
            )
        return self

    @property
    def better(self) -> Direction:
        """The direction that makes sense."""
        return METRICS[self._name] or "maximize"

    @property
    def _name(self) -> str:
        return self.metric.rsplit("/", 1)[-1].removesuffix("_fold_mean")

    @property
    def _trend(self) -> str:
        return "lower" if self.better == "minimize" else "higher"


@dataclass(frozen=True, config=_SETTINGS)
class Sampler:
    """How the next configuration is drawn."""

    name: SamplerName = "tpe"
    """tpe: near good ones; random; grid: each once; qmc: evenly; nsga2: by mixing good ones; gp:
    by a model of the objective."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of what is drawn; the seed of the training is a parameter of its own."""


@dataclass(frozen=True, config=_SETTINGS)
class Pruner:
    """What is stopped before it has finished."""

    name: PrunerName = "none"
    """asha: what is worse than most at one of a few checks; hyperband: the same with several
    numbers of epochs before the first check; none: nothing."""

    min_epochs: PositiveInt | None = None
    """Epochs, over all folds, before the first check. Not given: those of the first fold."""

    reduction_factor: Annotated[int, Field(ge=2, le=10)] | None = None
    """At every check one trial in this many goes on. Not given: 3."""

    @model_validator(mode="after")
    def _has_settings_of_its_own(self) -> "Pruner":
        if self.name == "none" and (self.min_epochs or self.reduction_factor):
            raise ValueError("min_epochs and reduction_factor belong to asha and hyperband")
        return self

    @property
    def keeps_one_in(self) -> int:
        """`reduction_factor`, or 3: the one of the papers."""
        return self.reduction_factor or 3


@dataclass(frozen=True, config=_SETTINGS)
class Budget:
    """When no further trial is started."""

    trials: PositiveInt | None = None
    """Number of trials, pruned ones counted too."""

    hours: PositiveFloat | None = None
    """Time since the sweep was started, hours."""

    seconds: PositiveFloat | None = None
    """The same in seconds."""

    @model_validator(mode="after")
    def _has_one_clock(self) -> "Budget":
        if self.hours is not None and self.seconds is not None:
            raise ValueError("hours and seconds say the same; give one of them")
        return self

    @property
    def time_seconds(self) -> float | None:
        """Time after which no further trial is started, seconds; None: no limit."""
        return self.seconds if self.hours is None else self.hours * 3600


Settings = TypeVar("Settings", Objective, Sampler, Pruner, Budget)


def read_settings(
    kind: type[Settings], where: str, node: Node, problems: Problems, *, short: str | None = None
) -> Settings | None:
    """Read one group of settings.

    Args:
        kind: What to read.
        where: Name of the group, for the messages.
        node: Settings by name, or one word where there is a short form.
        problems: Where problems are kept.
        short: The setting that a single word stands for; None: there is no short form.

    Returns:
        The settings, or None if they are wrong: then why is kept as a problem.
    """
    if isinstance(node, Scalar) and short is not None:
        node = Table({short: node}, node.line, {short: node.line})
    if not isinstance(node, Table):
        problems.add(node.line, f"{where}: must be settings by name, got {node}")
        return None
    known = [f.name for f in fields(kind)]
    before, given = len(problems), dict[str, str]()
    for key, value in node.entries.items():
        if key not in known:
            problems.unknown(node.lines[key], key, known, where=where)
        elif not isinstance(value, Scalar):
            problems.add(node.lines[key], f"{where}: {key}: must be one value, got {value}")
        elif value.is_null:
            problems.add(value.line, f"{where}: {key}: must not be null; leave it out")
        else:
            given[key] = value.text
    if len(problems) > before:
        return None
    return _built(kind, where, node, given, problems)


def _built(
    kind: type[Settings], where: str, node: Table, given: dict[str, str], problems: Problems
) -> Settings | None:
    arguments: dict[str, Any] = dict(given)
    try:
        return kind(**arguments)
    except ValidationError as error:
        for detail in error.errors():
            name = str(detail["loc"][0]) if detail["loc"] else ""
            line, rule = node.lines.get(name, node.line), rule_of(detail["msg"])
            if not name:  # a rule about several settings names them itself
                named = rule.split(":", 1)[0]
                problems.add(node.lines.get(named, node.line), f"{where}: {rule}")
            elif name not in given:
                problems.add(line, f"{where}: must have {name}")
            else:
                hint = did_you_mean(given[name], choices_of(info_of(kind, name).annotation))
                problems.add(line, f"{where}: {name}: {rule}, got {given[name]!r}{hint}")
    return None
