"""What a free parameter may be: one of some values, or a number of a range."""

from dataclasses import dataclass
from decimal import Decimal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from asd_experiments.search.document import Listing, Node, Problems, Scalar, Table
from asd_experiments.search.values import Value, number_type, read_value, written


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Value, ...]

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values that stand for all in a check: here all of them."""
        return self.values

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna has it."""
        return CategoricalDistribution(self.values)

    def suggest(self, trial: BaseTrial, name: str) -> Value:
        """Ask a trial for a value."""
        value: Value = trial.suggest_categorical(name, self.values)
        return value

    def __contains__(self, value: Value) -> bool:
        return value in self.values


@dataclass(frozen=True)
class IntRange:
    """A whole number between two, both included."""

    low: int
    high: int
    step: int = 1
    log: bool = False
    """Whether a sampler draws its logarithm evenly, rather than the number."""

    @property
    def values(self) -> tuple[int, ...] | None:
        """All of them; None where they are drawn by their logarithm."""
        return None if self.log else tuple(range(self.low, self.high + 1, self.step))

    @property
    def extremes(self) -> tuple[int, ...]:
        """Values that stand for all in a check."""
        return (self.low, self.high)

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna has it."""
        return IntDistribution(self.low, self.high, step=self.step, log=self.log)

    def suggest(self, trial: BaseTrial, name: str) -> int:
        """Ask a trial for a value."""
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def __contains__(self, value: Value) -> bool:
        return (
            isinstance(value, int)
            and self.low <= value <= self.high
            and (value - self.low) % self.step == 0
        )


@dataclass(frozen=True)
class FloatRange:
    """A number between two, both included."""

    low: float
    high: float
    step: float | None = None
    """Distance between neighbours; None: any number."""

    log: bool = False
    """Whether a sampler draws its logarithm evenly, rather than the number."""

    @property
    def values(self) -> tuple[float, ...] | None:
        """All of them; None where there is no end of them."""
        if self.step is None:
            return None
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step))
        return tuple(float(low + k * step) for k in range(int((high - low) / step) + 1))

    @property
    def extremes(self) -> tuple[float, ...]:
        """Values that stand for all in a check."""
        return (self.low, self.high)

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna has it."""
        return FloatDistribution(self.low, self.high, step=self.step, log=self.log)

    def suggest(self, trial: BaseTrial, name: str) -> float:
        """Ask a trial for a value."""
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def __contains__(self, value: Value) -> bool:
        if not isinstance(value, float) or not self.low <= value <= self.high:
            return False
        return self.values is None or value in self.values


Domain = Choices | IntRange | FloatRange
Number = int | float
_RANGE = ("low", "high", "step", "log")
_SYNONYMS = {
    **dict.fromkeys(("min", "minimum", "from", "start"), "low"),
    **dict.fromkeys(("max", "maximum", "to", "stop"), "high"),
    **dict.fromkeys(("values", "options", "one_of"), "choices"),
    **dict.fromkeys(("if", "condition", "only_if"), "when"),
}


def read_values(where: str, name: str, node: Node, problems: Problems) -> list[tuple[Value, int]]:
    """Read one value or a list of values.

    Returns:
        Those that could be read, with their lines.
    """
    items = node.items if isinstance(node, Listing) else (node,)
    if not items:
        problems.add(node.line, f"{where}: must have at least one value, got an empty list")
    return [
        (value, item.line)
        for item in items
        for value in read_value(name, item, problems, where=where)
    ]


def read_domain(name: str, node: Node, problems: Problems) -> Domain | None:
    """Read what a parameter may be; None if that is wrong: then why is kept as a problem."""
    if isinstance(node, Listing):
        return _read_choices(name, node, problems)
    if not isinstance(node, Table):
        problems.add(
            node.line,
            f"{name}: must have choices, or low and high, got {node}; one value that all trials "
            "share belongs under fixed",
        )
        return None
    known = ("choices", *_RANGE, "when")
    for key in node.entries:
        if key in _SYNONYMS:
            problems.add(node.lines[key], f"{name}: {key} is called {_SYNONYMS[key]} here")
        elif key not in known:
            problems.unknown(node.lines[key], key, known, where=name)
    given = [key for key in _RANGE if key in node.entries]
    if "choices" in node.entries and given:
        problems.add(
            node.lines["choices"], f"{name}: must have choices or a range, got both ({given[0]})"
        )
    elif "choices" in node.entries:
        return _read_choices(name, node.entries["choices"], problems)
    elif given:
        return _read_range(name, node, problems)
    else:
        problems.add(node.line, f"{name}: must have choices, or low and high")
    return None


def _read_choices(name: str, node: Node, problems: Problems) -> Choices | None:
    if not isinstance(node, Listing):
        problems.add(node.line, f"{name}: choices must be a list, got {node}")
        return None
    values: list[Value] = []
    for value, line in read_values(name, name, node, problems):
        if value in values:
            problems.add(line, f"{name}: {written(value)} stands twice among the choices")
        else:
            values.append(value)
    return Choices(tuple(values)) if values else None


def _read_range(name: str, node: Table, problems: Problems) -> IntRange | FloatRange | None:
    kind = number_type(name)
    if kind is None:
        problems.add(node.line, f"{name}: is no number, so it needs choices rather than a range")
        return None
    ends = [_read_end(name, end, node, problems) for end in ("low", "high")]
    log = _read_switch(f"{name}: log", node.entries.get("log"), problems)
    step = _read_step(name, kind, node.entries.get("step"), problems)
    low, high = ends
    if low is None or high is None:
        return None
    line = node.lines["low"]
    if low >= high:
        problems.add(line, f"{name}: low must be smaller than high, got {low} and {high}")
        return None
    if log and low <= 0:
        problems.add(line, f"{name}: low must be positive where log is true, got {low}")
        return None
    if step is not None and log:
        problems.add(node.lines["step"], f"{name}: step and log exclude each other")
        return None
    if step is not None and (over := _left_over(low, high, step)):
        problems.add(
            node.lines["step"],
            f"{name}: high must be low and a whole number of steps, got {low}, {high} and a step "
            f"of {step}; take high: {written(kind(Decimal(str(high)) - over))}",
        )
        return None
    if kind is int:
        return IntRange(int(low), int(high), step=int(step or 1), log=log)
    return FloatRange(low, high, step=step, log=log)


def _left_over(low: Number, high: Number, step: Number) -> Decimal:
    return (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))


def _read_end(name: str, end: str, node: Table, problems: Problems) -> Number | None:
    if end not in node.entries:
        problems.add(node.line, f"{name}: must have {end}")
        return None
    entry = node.entries[end]
    if isinstance(entry, Scalar) and entry.is_null:
        problems.add(entry.line, f"{name}: {end} must be a number, got null")
        return None
    value = next(iter(read_value(name, entry, problems, where=f"{name}: {end}")), None)
    return value if isinstance(value, int | float) else None


def _read_step(
    name: str, kind: type[int] | type[float], node: Node | None, problems: Problems
) -> Number | None:
    if node is None:
        return None
    rule = "a whole number of at least 1" if kind is int else "a positive number"
    try:
        step = kind(node.text) if isinstance(node, Scalar) else 0
    except ValueError:
        step = 0
    if not 0 < step < float("inf"):
        problems.add(node.line, f"{name}: step must be {rule}, got {node}")
        return None
    return step


def _read_switch(where: str, node: Node | None, problems: Problems) -> bool:
    if node is None:
        return False
    if isinstance(node, Scalar) and node.text in ("true", "false"):
        return node.text == "true"
    problems.add(node.line, f"{where} must be true or false, got {node}")
    return False
