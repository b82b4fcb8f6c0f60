"""Main effects: what a level of a parameter is worth, all else being equal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asd_experiments.reporting.sampled import Estimate, Sampled

FLOW = "optical_flow"
"""Whether the motion stream is used: no parameter, but what the fusions divide into."""


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
        if 1 < len(set(levels)) < len(levels)
    ]
    flow = ["no" if of["fusion"] == "appearance_only" else "yes" for of in parameters]
    if "fusion" in values and 1 < len(set(flow)) < len(flow):
        others = {n: v for n, v in values.items() if n not in ("fusion", "motion_backbone")}
        effects.append(_effect(FLOW, flow, others, sampled))
    return effects


def _effect(
    name: str,
    levels: Sequence[str],
    values: Mapping[str, Sequence[str]],
    sampled: Sampled,
) -> Effect:
    cells = list(zip(*(v for n, v in values.items() if n != name), strict=True)) or [
        () for _ in levels
    ]
    kinds = sorted(set(levels), key=_order)
    trials_of = {
        kind: [index for index, level in enumerate(levels) if level == kind] for kind in kinds
    }
    shared = set.intersection(*({cells[index] for index in of} for of in trials_of.values()))
    members = {
        kind: [index for index in of if not shared or cells[index] in shared]
        for kind, of in trials_of.items()
    }
    first = members[kinds[0]]
    return Effect(
        name,
        [
            Level(
                kind,
                len(inside),
                sampled.estimate(inside),
                None if kind == kinds[0] else sampled.difference(inside, first),
            )
            for kind, inside in members.items()
        ],
        len(shared),
    )


def _order(level: str) -> tuple[int, float, str]:
    """Numbers by size, before words."""
    try:
        return (0, float(level), "")
    except ValueError:
        return (1, 0.0, level)
