"""What came out of a sweep: a table of trials, plots, cost, and how the best was chosen."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import optuna
import pandas as pd
import plotly.graph_objects as go
from optuna import visualization
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from asd_experiments.search.study import ERROR, GPUS, attempts, key_of

RUN_STATES = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
}
"""State in MLflow of the run of a trial that has ended."""

_FEWEST_FOR_IMPORTANCE = 8
_SHOWN = 10


class Cost(NamedTuple):
    """What a sweep took, in seconds of its trials."""

    seconds: float
    """All trials together, those tried again counted each time."""

    saved_seconds: float
    """By pruning, if a pruned trial would have taken what a finished one takes on average."""

    gpu_seconds: float
    """Seconds of all trials together, each times the GPUs that it held.

    Of engine=optuna, a GPU that several processes share counts for each of them.
    """


def last_attempts(study: Study) -> dict[str, FrozenTrial]:
    """What became of every trial, by its key: the last of its attempts."""
    return {key_of(trial): trial for trial in attempts(study)}


def run_states(study: Study) -> dict[str, str]:
    """State of the run of every trial that has ended, by the trial's key."""
    return {
        key: RUN_STATES[trial.state]
        for key, trial in last_attempts(study).items()
        if trial.state in RUN_STATES
    }


def best_trial(study: Study) -> FrozenTrial | None:
    """The finished trial with the best first metric, of equals the first; None if none finished."""
    finished = study.get_trials(states=(TrialState.COMPLETE,))
    sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1
    return min(finished, key=lambda t: (sign * t.values[0], int(key_of(t))), default=None)


def trial_table(study: Study, metrics: Sequence[str], run_ids: Mapping[str, str]) -> pd.DataFrame:
    """One row per trial, the best first: state, values, parameters, cost, run.

    Args:
        study: The study.
        metrics: Names of its values.
        run_ids: Run of every trial, by its key.
    """
    rows = []
    for key, trial in last_attempts(study).items():
        last_step = max(trial.intermediate_values, default=None)
        partial = None if last_step is None else abs(trial.intermediate_values[last_step])
        values = trial.values if trial.state == TrialState.COMPLETE else [None] * len(metrics)
        rows.append(
            {
                "trial": int(key),
                "state": trial.state.name,
                **dict(zip(metrics, values, strict=True)),
                "last_step": last_step,
                "partial_validation_loss": partial if trial.state == TrialState.PRUNED else None,
                "seconds": _seconds(trial),
                "gpu_seconds": _gpu_seconds(trial),
                **trial.params,
                "error": trial.user_attrs.get(ERROR, ""),
                "run_id": run_ids.get(key, ""),
            }
        )
    ascending = study.directions[0] == StudyDirection.MINIMIZE
    table = pd.DataFrame(rows)
    return table.sort_values([metrics[0], "trial"], ascending=[ascending, True], na_position="last")


def cost_of(study: Study) -> Cost:
    """Add up what all attempts took."""
    by_state: dict[TrialState, list[float]] = {}
    tried = attempts(study)
    for trial in tried:
        by_state.setdefault(trial.state, []).append(_seconds(trial))
    finished = by_state.get(TrialState.COMPLETE, [])
    pruned = by_state.get(TrialState.PRUNED, [])
    usual = sum(finished) / len(finished) if finished else 0.0
    saved = sum(max(0.0, usual - seconds) for seconds in pruned)
    gpu_seconds = sum(map(_gpu_seconds, tried))
    return Cost(sum(map(sum, by_state.values())), saved, gpu_seconds)


def page_of_plots(study: Study, metrics: Sequence[str], title: str) -> str:
    """One HTML page with Optuna's plots, which needs no network."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    parts = [f"<h1>{title}</h1>"]
    if not finished:
        parts.append("<p>No trial has finished.</p>")
    first = True
    for heading, figure in _plots(study, metrics, finished) if finished else []:
        parts.append(f"<h2>{heading}</h2>")
        if isinstance(figure, str):
            parts.append(f"<p>{figure}</p>")
            continue
        figure.update_layout(template="plotly_white", title=None, margin={"t": 30})
        parts.append(figure.to_html(full_html=False, include_plotlyjs=first))
        first = False
    style = "body{font-family:sans-serif;margin:1.5em auto;max-width:1100px;padding:0 1em}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{style}</style></head><body>{''.join(parts)}</body></html>"
    )


def _plots(
    study: Study, metrics: Sequence[str], finished: Sequence[FrozenTrial]
) -> list[tuple[str, "go.Figure | str"]]:
    shared = set.intersection(*(set(trial.params) for trial in finished))
    names = sorted(shared)
    plots: list[tuple[str, go.Figure | str]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        for number, metric in enumerate(metrics):
            target: dict[str, Any] = {
                "target": lambda trial, n=number: trial.values[n],
                "target_name": metric,
            }
            plots.append(
                (
                    f"{metric}, trial by trial",
                    visualization.plot_optimization_history(study, **target),
                )
            )
            if names:
                plots += [
                    (
                        f"{metric}: parallel coordinates",
                        visualization.plot_parallel_coordinate(study, params=names, **target),
                    ),
                    (f"{metric}: slices", visualization.plot_slice(study, params=names, **target)),
                ]
            plots.append(
                (f"{metric}: importance", _importance(study, names, finished, number, metric))
            )
        if len(metrics) == 2:
            front = visualization.plot_pareto_front(study, target_names=list(metrics))
            plots.append(("Pareto front", front))
    return plots


def _importance(
    study: Study, names: Sequence[str], finished: Sequence[FrozenTrial], number: int, metric: str
) -> "go.Figure | str":
    """Importance of what all trials have in common, from finished trials alone."""
    varied = [n for n in names if len({str(trial.params[n]) for trial in finished}) > 1]
    if not varied or len(finished) < _FEWEST_FOR_IMPORTANCE:
        return (
            f"Not computed: it takes {_FEWEST_FOR_IMPORTANCE} finished trials or more and a "
            f"parameter that all of them have and that differs; there are {len(finished)} and "
            f"{len(varied)}."
        )
    return visualization.plot_param_importances(
        study,
        evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
        params=varied,
        target=lambda trial: trial.values[number],
        target_name=metric,
    )


def note_of(
    study: Study,
    metrics: Sequence[str],
    table: pd.DataFrame,
    cost: Cost,
    links: Sequence[str],
    best: str,
) -> str:
    """What a reader of the sweep's run sees first, in Markdown.

    Args:
        study: The study.
        metrics: Names of its values.
        table: All trials, the best first.
        cost: What they took.
        links: Where a reader may want to go, for the first line.
        best: Which is the best.
    """
    counts = Counter(trial.state for trial in last_attempts(study).values())
    tried = sum(counts[state] for state in RUN_STATES)
    rule = "highest" if study.directions[0] == StudyDirection.MAXIMIZE else "lowest"
    lines = [
        f"{' · '.join(links)}",
        "",
        best,
        "",
        f"**{tried} configurations were tried**: "
        f"{counts[TrialState.COMPLETE]} finished, {counts[TrialState.PRUNED]} pruned, "
        f"{counts[TrialState.FAIL]} failed. The best is the one with the {rule} "
        f"`{metrics[0]}`, a figure of inner validation patients; figures of outer test patients "
        "(`test/...`) are logged with every trial and were not seen by the search. The best of "
        f"many looks better than it is: of {tried} here.",
        "",
        f"Cost: {cost.seconds:.0f} s of trials, {cost.gpu_seconds:.0f} s of GPUs; pruning saved "
        f"about {cost.saved_seconds:.0f} s of trials.",
        "",
    ]
    parameters = [
        column
        for column in table.columns
        if column not in {"run_id", "error", "last_step", "partial_validation_loss", "gpu_seconds"}
    ]
    lines += [f"| {' | '.join(parameters)} |", f"|{'---|' * len(parameters)}"]
    for _, row in table.head(_SHOWN).iterrows():
        lines.append(f"| {' | '.join(_cell(row[column]) for column in parameters)} |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _seconds(trial: FrozenTrial) -> float:
    duration = trial.duration
    return duration.total_seconds() if duration else 0.0


def _gpu_seconds(trial: FrozenTrial) -> float:
    return float(trial.user_attrs.get(GPUS, 0.0)) * _seconds(trial)
