"""A search space: which configurations a sweep may try, and how they are asked for."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optuna import TrialPruned
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import BaseTrial

from asd_experiments.search.combinations import Drawn, combinations, distinct
from asd_experiments.search.parameters import Assignment, Parameter, holds
from asd_experiments.search.settings import Budget, Objective, Pruner, Sampler
from asd_experiments.search.values import Value, written

ROW = "row"
"""What a space of rows asks a trial for: the name of a row."""


class ExcludedError(TrialPruned):
    """A sampler drew a combination that the space leaves out: nothing is to be trained.

    Optuna marks the trial as pruned, and a sampler that learns takes it for one of the worst.
    """


@dataclass(frozen=True)
class Row:
    """A configuration with a name, such as a row of a published table."""

    name: str
    parameters: Mapping[str, Value]
    """What it sets beside what is fixed."""


@dataclass(frozen=True)
class SearchSpace:
    """Which configurations a sweep may try, and how it goes about it."""

    name: str
    """Its own name, or else that of its file."""

    sha256: str
    """Digest of its file."""

    objectives: tuple[Objective, ...]
    """What trials are judged by; several of them give a Pareto front."""

    description: str = ""
    """What it is for, in the words of its author."""

    parameters: tuple[Parameter, ...] = ()
    """What is varied, in the order of the file but for conditions."""

    exclude: tuple[Assignment, ...] = ()
    """Combinations that are left out."""

    rows: tuple[Row, ...] = ()
    """Configurations with names; where there are any, there are no free parameters."""

    fixed: Mapping[str, Value] = field(default_factory=dict)
    """What all trials share."""

    sampler: Sampler = field(default_factory=Sampler)
    """How configurations are drawn; rows are taken one after the other."""

    pruner: Pruner = field(default_factory=Pruner)
    """What is stopped early."""

    budget: Budget = field(default_factory=Budget)
    """When no further trial is started."""

    @property
    def is_listed(self) -> bool:
        """Whether every configuration is known in advance: rows, or a grid."""
        return bool(self.rows) or self.sampler.name == "grid"

    @property
    def is_endless(self) -> bool:
        """Whether time alone ends a sweep."""
        return not self.is_listed and self.budget.trials is None

    @property
    def num_trials(self) -> int | None:
        """Trials of a sweep that nothing cuts short; None: until its time is over."""
        if not self.is_listed:
            return self.budget.trials
        return len(self.listed())

    def suggest(self, trial: BaseTrial) -> dict[str, Value]:
        """Ask a trial for a configuration.

        Args:
            trial: Any trial of Optuna's; it is asked for active parameters alone.

        Returns:
            Parameters of `TrainConfig`: what is fixed, and what is active.

        Raises:
            ExcludedError: If the trial drew a combination that is left out.
        """
        if self.rows:
            name = trial.suggest_categorical(ROW, [row.name for row in self.rows])
            return {**self.fixed, **next(row for row in self.rows if row.name == name).parameters}
        drawn: Drawn = {}
        for parameter in self.parameters:
            if parameter.is_active(drawn):
                drawn[parameter.name] = parameter.domain.suggest(trial, parameter.name)
                self._refuse_excluded(drawn)
        return {**self.fixed, **drawn}

    def grid(self) -> list[dict[str, Value]]:
        """Every configuration of a finite space, the first parameter varying slowest.

        Two that come to the same (a motion backbone that is the backbone, and none) are one.

        Returns:
            For each, what `suggest` returns.

        Raises:
            ValueError: If the space is endless.
        """
        if self.rows:
            return [{**self.fixed, **row.parameters} for row in self.rows]
        combined = combinations(self.parameters, self.exclude, all_values)
        return [{**self.fixed, **drawn} for drawn in distinct(self.fixed, combined)]

    def listed(self) -> list[dict[str, Value]]:
        """Configurations of rows or a grid that the budget allows, in the order of the file.

        A budget for fewer takes a random part, drawn by the seed: the first ones would have
        nothing but the first values of the first parameters.
        """
        every = self.grid()
        if self.budget.trials is None or self.budget.trials >= len(every):
            return every
        draw = random.Random(self.sampler.seed)
        chosen = sorted(draw.sample(range(len(every)), self.budget.trials))
        return [every[number] for number in chosen]

    def drawn(self, configuration: Mapping[str, Value]) -> dict[str, Value]:
        """What a trial must be given, by `enqueue_trial`, for `suggest` to return a configuration.

        Args:
            configuration: One of `grid` or `listed`.
        """
        if self.rows:
            parameters = {n: v for n, v in configuration.items() if n not in self.fixed}
            return {ROW: next(row.name for row in self.rows if row.parameters == parameters)}
        return {p.name: configuration[p.name] for p in self.parameters if p.name in configuration}

    def distributions(self) -> dict[str, BaseDistribution]:
        """What a trial is asked for, as Optuna has it; conditions are not in it."""
        if self.rows:
            return {ROW: CategoricalDistribution([row.name for row in self.rows])}
        return {parameter.name: parameter.domain.distribution for parameter in self.parameters}

    def _refuse_excluded(self, drawn: Drawn) -> None:
        for assignment in self.exclude:
            if holds(assignment, drawn):
                values = ", ".join(f"{name}={written(drawn[name])}" for name in assignment)
                raise ExcludedError(f"the search space excludes {values}")


def all_values(parameter: Parameter) -> Sequence[Value]:
    """Every value of a parameter.

    Raises:
        ValueError: If there is no end of them.
    """
    values = parameter.domain.values
    if values is None:
        raise ValueError(f"{parameter.name} has no end of values, so there is no grid of them")
    return values
