"""Main effects: what a level of a parameter is worth, all else being equal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asd_experiments.config import as_text
from asd_experiments.evaluation.sampled import Estimate, Sampled, Shares
from asd_experiments.reporting.rows import FLOW, uses_flow


@dataclass(frozen=True)
class Level:
    """One value of a parameter."""

    value: str
    num_trials: int

    mean: Estimate
    """Marginal mean of the metric over the configurations that all levels share."""

    difference: Estimate | None
    """To the first level; None for the first."""


@dataclass(frozen=True)
class Effect:
    """All levels of one parameter."""

    name: str
    levels: list[Level]

    num_matched: int
    """Settings of the other parameters in which every level was tried; 0 where there is none, so
    that levels are compared over all their trials, like with unlike."""


def main_effects(
    parameters: Sequence[Mapping[str, str]], varied: Sequence[str], sampled: Sampled
) -> list[Effect]:
    """Marginal means of every parameter with several trials on each level.

    A parameter's levels are compared over the settings of the other parameters that all of its
    levels share, so that a level is not judged by what it happened to be tried with. The intervals
    are those of patients, the same draws for all trials: they tell what other patients would do,
    not what another training would.

    Args:
        parameters: Parameters of every trial.
        varied: Which of them differ between trials.
        sampled: The metric of every trial.
    """
    values = {name: [of.get(name, "") for of in parameters] for name in varied}
    effects = [
        _effect(name, levels, values, sampled)
        for name, levels in values.items()
        if _has_levels(levels)
    ]
    if "fusion" in values and (flow := _flow(parameters, values, sampled)):
        effects.append(flow)
    return effects


def _flow(
    parameters: Sequence[Mapping[str, str]],
    values: Mapping[str, Sequence[str]],
    sampled: Sampled,
) -> Effect | None:
    """What flow adds to the appearance: trials of flow alone have lost that, and do not count."""
    kept = [i for i, of in enumerate(parameters) if of["fusion"] != "motion_only"]
    flow = [as_text(uses_flow(parameters[index])) for index in kept]
    others = {
        name: [levels[index] for index in kept]
        for name, levels in values.items()
        if name not in ("fusion", "motion_backbone")
    }
    return _effect(FLOW, flow, others, sampled, kept) if _has_levels(flow) else None


def _has_levels(levels: Sequence[str]) -> bool:
    """Whether there are levels to compare, each of several trials."""
    return len(set(levels)) > 1 and min(Counter(levels).values()) > 1


def _effect(
    name: str,
    levels: Sequence[str],
    values: Mapping[str, Sequence[str]],
    sampled: Sampled,
    trials: Sequence[int] | None = None,
) -> Effect:
    """Compare levels.

    Args:
        name: Of the parameter.
        levels: Its level in each trial.
        values: Levels of all parameters.
        sampled: The metric.
        trials: Indices of the trials in `sampled`; None: all.
    """
    trials = range(len(levels)) if trials is None else trials
    cells = list(zip(*(v for n, v in values.items() if n != name), strict=True)) or [
        () for _ in levels
    ]
    kinds = sorted(set(levels), key=_order)
    in_cell: dict[str, dict[tuple[str, ...], list[int]]] = {kind: {} for kind in kinds}
    for trial, level, cell in zip(trials, levels, cells, strict=True):
        in_cell[level].setdefault(cell, []).append(trial)
    shared = set.intersection(*(set(of) for of in in_cell.values()))
    shares = {
        kind: _per_cell([of for cell, of in found.items() if not shared or cell in shared])
        for kind, found in in_cell.items()
    }
    first = shares[kinds[0]]
    return Effect(
        name,
        [
            Level(
                kind,
                len(own),
                sampled.estimate(own),
                None if kind == kinds[0] else sampled.difference(own, first),
            )
            for kind, own in shares.items()
        ],
        len(shared),
    )


def _per_cell(cells: Sequence[Sequence[int]]) -> Shares:
    """Every setting of the other parameters counts the same, however often it was tried."""
    return {trial: 1 / len(cells) / len(of) for of in cells for trial in of}


def _order(level: str) -> tuple[int, float, str]:
    """Numbers by size, before words."""
    try:
        return (0, float(level), "")
    except ValueError:
        return (1, 0.0, level)
