"""How a trial came to be the one: among how many, by what, and how much that flatters."""

import math

from asd_experiments.evaluation.comparison import COMPARED_METRICS
from asd_experiments.evaluation.sampled import Estimate
from asd_experiments.evaluation.wording import figure_text, title_of
from asd_experiments.registry.document import Block, Section, Table
from asd_experiments.tracking.finished_sweep import FinishedSweep, sweep_of
from asd_experiments.tracking.finished_trial import FinishedTrial, resolved_parameters
from asd_experiments.tracking.optimism import PART_OF_THE_CHOICE, Optimism, optimism

_BY_ITSELF = "val/patient/auroc"  # nothing was chosen by it; its test figure stands beside it


def selected_by(trial: FinishedTrial) -> str | None:
    """Metric that the trial's sweep chose by, as two trials can be compared by it.

    Returns:
        Of `comparison.COMPARED_METRICS`; None without a sweep, or for another metric.
    """
    judged = _judged(sweep_of(trial.run))
    unit, _, metric = (judged or "").removeprefix("val/").partition("/")
    metric = metric.removesuffix("_fold_mean")
    return metric if unit == "patient" and metric in COMPARED_METRICS else None


def selection_section(trial: FinishedTrial, seed: int = 0) -> Section:
    """Tell how many configurations were tried and what the choice by validation cost."""
    sweep = sweep_of(trial.run)
    blocks: list[Block] = [_told(trial, sweep)]
    if price := optimism(trial, _judged(sweep) or _BY_ITSELF, seed=seed):
        blocks += [_table(price)]
        if sweep is not None:
            blocks += [
                "Report the test figure, not the validation figure: the best of several looks "
                f"better than it is. {PART_OF_THE_CHOICE}"
            ]
    blocks += [
        "Within every fold, inner validation patients alone chose the epoch and the threshold; "
        f"1 in {trial.parameters.get('inner_folds', 'several')} of the training patients are these."
    ]
    return Section("How it was selected", blocks)


def _judged(sweep: FinishedSweep | None) -> str | None:
    return sweep.winner[1] if sweep is not None and sweep.winner is not None else None


def _told(trial: FinishedTrial, sweep: FinishedSweep | None) -> str:
    if sweep is None:
        return (
            "One configuration was trained, outside of a sweep. Whether others were tried before "
            "it is not known to this run."
        )
    num_tried = int(sweep.run.data.metrics.get("num_trials", 0))
    told = (
        f"{num_tried} configurations were tried by {sweep.run.info.run_name} (search space "
        f"{resolved_parameters(sweep.run).get('space', 'unknown')}), of which "
        f"{_num_finished(sweep)} came to their end"
    )
    if sweep.winner is None:
        return f"{told}; the sweep has not ended and has chosen none."
    chosen, judged = sweep.winner
    if chosen == trial.run_id:
        return f"{told}; this is the one that the sweep chose, by {judged}."
    return f"{told}; the sweep chose another one, by {judged}: somebody chose this one."


def _num_finished(sweep: FinishedSweep) -> int:
    table = sweep.table
    return 0 if table is None else int((table["state"] == "COMPLETE").sum())


def _table(price: Optimism) -> Table:
    name = title_of(price.metric)
    rows = [
        (f"inner validation {name}", _text(price.validation)),
        (f"outer test {name}", _text(price.test)),
        ("how much better it looked (optimism)", _text(price.difference, signed=True)),
    ]
    return Table(["", f"{price.unit}s, pooled over folds [95 % CI]"], rows)


def _text(estimate: Estimate, *, signed: bool = False) -> str:
    return "undefined" if math.isnan(estimate.value) else figure_text(estimate, signed=signed)
