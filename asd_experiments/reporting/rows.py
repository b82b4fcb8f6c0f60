"""Rows of the ablation table: configurations or levels of parameters, with all their figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from asd_experiments.config import TrainConfig, as_text
from asd_experiments.errors import InputError, did_you_mean
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.comparison import check_same_patients, holm
from asd_experiments.evaluation.predictions import Unit
from asd_experiments.evaluation.sampled import (
    Estimate,
    Sampled,
    equally,
    goodness,
    sample,
    tested,
)
from asd_experiments.reporting.selection import Selection
from asd_experiments.tracking.finished_trial import FinishedTrial
from asd_experiments.tracking.runs import COLLAPSED

ALPHA = 0.05
"""From which p value on, after Holm, a difference is called one."""

_NOT_FACTORS = (
    *("store", "seed", "checkpoints", "resume", "run_name"),
    *("device", "loader_workers", "find_batch_size"),
    *("anonymise", "pseudonym_key"),
)
FACTORS = tuple(f.name for f in fields(TrainConfig) if f.name not in _NOT_FACTORS)
"""Parameters of a trial in which configurations can differ; seeds repeat a configuration."""

FLOW = "optical_flow"
"""Whether the motion stream is used: no parameter, but what the fusions divide into."""

_IN_THE_LABEL = ("backbone", "motion_backbone", "fusion", "clip_length")


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    name: str
    """What it is called by; no two rows share it."""

    label: str
    """What a reader sees, who sees the ticks too."""

    members: list[int]
    """Its trials, as indices."""

    levels: Mapping[str, str]
    """What all its trials have in common, of the parameters that differ in the table."""

    segmentation: bool | None
    """Whether all its trials, or none of them, cut the body out; None: some."""

    optical_flow: bool | None
    """Whether all its trials, or none of them, use the motion stream; None: some."""

    figures: Mapping[str, Estimate]
    """By metric."""

    collapsed: int
    """How many of its trials have folds whose network gives every patient the same answer."""

    differences: Mapping[str, Estimate]
    """By metric: to the reference; empty for the reference itself."""

    size: Mapping[str, float]
    """Means over its trials: parameters, gmacs, seconds."""

    adjusted: dict[str, float | None] = field(default_factory=dict)
    """By metric: p value of the difference after Holm."""


@dataclass(frozen=True)
class Comparison:
    """All rows, and what they are compared by."""

    rows: list[Row]
    reference: Row
    metrics: Sequence[str]
    unit: Unit
    sampled: Mapping[str, Sampled]
    cases: Sequence[Cases]
    varied: Sequence[str]
    """Parameters that differ between the trials."""

    best: Mapping[str, Row]
    """By metric: the row that is better than every other one, where the tests say so."""


def compare(
    selection: Selection,
    *,
    unit: Unit,
    metrics: Sequence[str],
    by: Sequence[str] = (),
    reference: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Make the rows, with intervals, differences to the reference and adjusted p values.

    Args:
        selection: The trials.
        unit: What counts as one case.
        metrics: Of `comparison.COMPARED_METRICS`.
        by: Parameters, or `FLOW`, whose levels are the rows; none: one row per configuration.
        reference: Name of a row or id of a run; None: the best by inner validation.
        seed: Seed of the draws.

    Raises:
        InputError: If the trials did not test the same patients, a parameter does not differ, or
            no row is called like the reference.
    """
    trials = selection.trials
    varied = [name for name in FACTORS if len({t.parameters.get(name) for t in trials}) > 1]
    factors = [*varied, FLOW] if len({uses_flow(t.parameters) for t in trials}) > 1 else varied
    _check_factors(by, factors)
    cases = [trial.predictions.cases("test", unit) for trial in trials]
    _check_patients(trials, cases)
    sampled = sample(cases, metrics, seed=seed)
    groups = _groups(trials, by or varied)
    labels = _labels(trials, groups, by, varied, selection.row_names)
    names = _names(trials, groups, labels)
    against = _reference(trials, groups, names, reference)
    sizes = [_size(trial) for trial in trials]
    rows = [
        Row(
            name=name,
            label=label,
            members=members,
            levels={n: str(_level(trials[members[0]].parameters, n)) for n in by or varied},
            segmentation=_all_or_none([t.parameters.get("segmentation") == "true" for t in of]),
            optical_flow=_all_or_none([uses_flow(t.parameters) for t in of]),
            figures={metric: sampled[metric].estimate(equally(members)) for metric in metrics},
            collapsed=sum(COLLAPSED in trial.run.data.tags for trial in of),
            differences={}
            if members == against
            else {m: _difference(cases, sampled[m], members, against, m) for m in metrics},
            size={key: float(np.mean([sizes[i][key] for i in members])) for key in sizes[0]},
        )
        for name, label, members in zip(names, labels, groups, strict=True)
        for of in [[trials[index] for index in members]]
    ]
    for metric in metrics:
        compared = [row for row in rows if row.differences]
        for row, p in zip(
            compared, holm([row.differences[metric].p for row in compared]), strict=True
        ):
            row.adjusted[metric] = p
    best = {m: top for m in metrics if (top := _best(rows, cases, sampled[m], m)) is not None}
    chosen = next(row for row in rows if row.members == against)
    return Comparison(rows, chosen, metrics, unit, sampled, cases, varied, best)


def uses_flow(parameters: Mapping[str, str]) -> bool:
    """Whether a trial looks at the motion stream, alone or beside the other."""
    return parameters["fusion"] != "appearance_only"


def _level(parameters: Mapping[str, str], factor: str) -> str | None:
    """Level of a factor that a trial is at."""
    return as_text(uses_flow(parameters)) if factor == FLOW else parameters.get(factor)


def _check_patients(trials: Sequence[FinishedTrial], cases: Sequence[Cases]) -> None:
    for trial, own in zip(trials[1:], cases[1:], strict=True):
        try:
            check_same_patients(own, cases[0])
        except ValueError as error:
            raise InputError(
                f"the runs {trial.run_id} and {trials[0].run_id} cannot be compared patient by "
                f"patient: {error}; were positive_class and group_by the same?"
            ) from error


def _check_factors(by: Sequence[str], differing: Sequence[str]) -> None:
    known = (*FACTORS, FLOW)
    for name in by:
        if name not in known:
            raise InputError(f"rows: unknown parameter {name!r}{did_you_mean(name, known)}")
        if name not in differing:
            choices = ", ".join(differing) or "none"
            raise InputError(f"rows: {name} is the same in all trials; choose of: {choices}")


def _groups(trials: Sequence[FinishedTrial], by: Sequence[str]) -> list[list[int]]:
    """Trials that share these parameters, in the order of their runs' beginning."""
    members: dict[tuple[str | None, ...], list[int]] = {}
    order = sorted(range(len(trials)), key=lambda index: trials[index].run.info.start_time)
    for index in order:
        key = tuple(_level(trials[index].parameters, name) for name in by)
        members.setdefault(key, []).append(index)
    return list(members.values())


def _labels(
    trials: Sequence[FinishedTrial],
    groups: Sequence[list[int]],
    by: Sequence[str],
    varied: Sequence[str],
    row_names: Mapping[str, str],
) -> list[str]:
    labels = []
    for members in groups:
        parameters = trials[members[0]].parameters
        given = {row_names.get(trials[index].run_id) for index in members}
        if by:
            levels = ", ".join(f"{name} {_short(_level(parameters, name))}" for name in by)
            labels.append(f"{levels} ({len(members)} trial{'s' if len(members) > 1 else ''})")
        elif len(given) == 1 and (name := given.pop()):
            labels.append(name)
        else:
            labels.append(_label(parameters, varied))
    return labels


def _names(
    trials: Sequence[FinishedTrial], groups: Sequence[list[int]], labels: Sequence[str]
) -> list[str]:
    """The labels, with what the ticks tell where it takes that to tell two rows apart."""
    names = [
        f"{label}, segmentation={trials[members[0]].parameters['segmentation']}"
        if labels.count(label) > 1
        else label
        for label, members in zip(labels, groups, strict=True)
    ]
    return [  # rows of two sweeps may be called the same
        f"{name}, run {trials[members[0]].run_id[:8]}" if names.count(name) > 1 else name
        for name, members in zip(names, groups, strict=True)
    ]


def _label(parameters: Mapping[str, str], varied: Sequence[str]) -> str:
    networks = dict.fromkeys(
        n for n in (parameters["backbone"], parameters.get("motion_backbone")) if n
    )
    told = f"{'+'.join(networks)} {parameters['fusion']} {parameters['clip_length']} frames"
    others = [n for n in varied if n not in (*_IN_THE_LABEL, "segmentation")]
    return ", ".join([told, *(f"{n}={_short(parameters.get(n))}" for n in others)])


def _short(value: str | None) -> str:
    """A drawn number with no more digits than tell it from others."""
    try:
        return str(value) if value is None or len(value) < 8 else f"{float(value):.3g}"
    except ValueError:
        return str(value)


def _reference(
    trials: Sequence[FinishedTrial],
    groups: Sequence[list[int]],
    names: Sequence[str],
    reference: str | None,
) -> list[int]:
    if reference is None:
        judged = [[_judged(trials[index]) for index in members] for members in groups]
        return groups[int(np.argmax([np.mean(values) for values in judged]))]
    for name, members in zip(names, groups, strict=True):
        if reference in (name, *(trials[index].run_id for index in members)):
            return members
    raise InputError(
        f"reference: no row or run is called {reference!r}{did_you_mean(reference, names)}; the "
        f"rows are: {'; '.join(names)}"
    )


def _judged(trial: FinishedTrial) -> float:
    """What a trial is chosen by where no sweep did: AUROC of inner validation patients."""
    return float(trial.run.data.metrics.get("val/patient/auroc", 0.0))


def _size(trial: FinishedTrial) -> dict[str, float]:
    logged = trial.run.data.metrics
    return {
        "parameters": logged.get("model/parameters", float("nan")),
        "gmacs": logged.get("model/gmacs", float("nan")),
        "seconds": trial.training_seconds(),
    }


def _all_or_none(flags: Sequence[bool]) -> bool | None:
    return flags[0] if len(set(flags)) == 1 else None


def _difference(
    cases: Sequence[Cases],
    sampled: Sampled,
    members: Sequence[int],
    others: Sequence[int],
    metric: str,
) -> Estimate:
    """Difference with the p value of the metric's own test, where both sides are one trial.

    Else with that of the draws.
    """
    drawn = sampled.difference(equally(members), equally(others))
    if len(members) > 1 or len(others) > 1:
        return drawn
    return tested(drawn, cases[members[0]], cases[others[0]], metric)


def _best(rows: Sequence[Row], cases: Sequence[Cases], sampled: Sampled, metric: str) -> Row | None:
    """The best row, if the adjusted tests say that it is better than each of the others."""
    first = max(rows, key=lambda row: goodness(metric, row.figures[metric].value))
    others = [row for row in rows if row is not first]
    adjusted = holm(
        [_difference(cases, sampled, first.members, row.members, metric).p for row in others]
    )
    supported = all(p is not None and p < ALPHA for p in adjusted)
    return first if others and supported else None
