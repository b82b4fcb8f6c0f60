"""Which trials an ablation compares."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import mlflow
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from asd_experiments.config import AblationConfig, listed
from asd_experiments.errors import InputError, all_problems
from asd_experiments.progress import progress_bar
from asd_experiments.tracking.anonymity import check_same_names
from asd_experiments.tracking.finished_sweep import FinishedSweep, parent_of, sweep_of
from asd_experiments.tracking.finished_trial import FinishedTrial, known_run, why_not_comparable
from asd_experiments.tracking.runs import runs_below


@dataclass(frozen=True)
class Selection:
    """The trials to be compared, and what was left aside."""

    trials: list[FinishedTrial]

    num_tried: int
    """Trials that were run to get them, as far as is known: all of their sweeps, and they."""

    left_out: Counter[str] = field(default_factory=Counter)
    """How many trials did not finish, by the state of their runs."""

    row_names: dict[str, str] = field(default_factory=dict)
    """Names of rows of a search space, by the trials' runs."""

    sweeps: list[FinishedSweep] = field(default_factory=list)
    """Sweeps that the trials belong to."""


def select(config: AblationConfig) -> Selection:
    """Find the trials that the parameters name, and read them.

    Raises:
        InputError: If runs are unknown, no trials or not finished; if fewer than two are left; or
            if they were not trained on the same data.
    """
    if config.sweep:
        runs = _of_sweep(config.sweep)
    elif config.runs:
        runs = _named(config.runs)
    else:
        runs = _found(str(config.experiment), config.filter)
    finished = [run for run in runs if why_not_comparable(run) is None]
    left_out = Counter(run.info.status for run in runs if why_not_comparable(run) is not None)
    if len(finished) < 2:
        raise InputError(
            f"an ablation compares at least two finished trials, found {len(finished)}"
            + "".join(f", {count} {state}" for state, count in left_out.items())
        )
    trials = [FinishedTrial.of(run) for run in progress_bar(finished, title="read", unit="trial")]
    _check_same_data(trials)
    check_same_names(trials)
    sweeps = _sweeps_of(trials)
    inside = {sweep.run_id for sweep in sweeps}
    outside = [r for r in runs if parent_of(r) not in inside]
    num_tried = len(outside) + sum(int(s.run.data.metrics.get("num_trials", 0)) for s in sweeps)
    names = {k: v for sweep in sweeps for k, v in sweep.row_names.items()}
    return Selection(trials, num_tried, left_out, names, sweeps)


def _of_sweep(run_id: str) -> list[Run]:
    sweep = known_run(run_id, "sweep")
    level = sweep.data.tags.get("asd.level", "run of another program")
    if level != "sweep":
        raise InputError(
            f"sweep: the run {run_id} is no sweep but a {level}; trials are given by runs="
        )
    return [run for run in runs_below(sweep) if run.data.tags.get("asd.level") == "trial"]


def _named(text: str) -> list[Run]:
    runs = [known_run(run_id, "runs") for run_id in listed(text)]
    problems = [
        f"the run {run.info.run_id} {reason}"
        for run in runs
        if (reason := why_not_comparable(run)) is not None
    ]
    if problems:
        raise InputError(all_problems("with runs", problems))
    return runs


def _found(experiment: str, rule: str | None) -> list[Run]:
    client = MlflowClient()
    known = client.get_experiment_by_name(experiment)
    if known is None:
        names = ", ".join(repr(e.name) for e in client.search_experiments())
        raise InputError(f"experiment: there is no {experiment!r}; choose one of: {names}")
    whole = "tags.`asd.level` = 'trial'" + (f" and {rule}" if rule else "")
    runs: list[Run] = []
    token = None
    while True:
        try:
            page = client.search_runs([known.experiment_id], whole, page_token=token)
        except mlflow.exceptions.MlflowException as error:
            raise InputError(f"filter: {rule!r} is refused by MLflow: {error.message}") from error
        runs += page
        if not (token := page.token):
            return runs


def _check_same_data(trials: Iterable[FinishedTrial]) -> None:
    by_digest: dict[str, list[str]] = {}
    for trial in trials:
        by_digest.setdefault(trial.data_digest, []).append(trial.run_id)
    if len(by_digest) > 1:
        sets = "; ".join(
            f"{digest or 'unknown'}: {len(ids)} trials, such as {ids[0]}"
            for digest, ids in by_digest.items()
        )
        raise InputError(
            "the trials were trained on different clip stores, so they cannot be compared patient "
            f"by patient ({sets}); choose those of one by runs= or filter="
        )


def _sweeps_of(trials: Iterable[FinishedTrial]) -> list[FinishedSweep]:
    parents = {parent_of(trial.run): trial.run for trial in trials}
    sweeps = [sweep_of(run) for parent, run in sorted(parents.items(), key=str)]
    return [sweep for sweep in sweeps if sweep is not None]
