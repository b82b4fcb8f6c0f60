"""Trials in processes of this machine; processes on other machines may join the same study."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from threading import Thread

import optuna
from optuna.study import Study
from optuna.trial import Trial, TrialState

from asd_experiments.errors import InputError
from asd_experiments.interruption import Interrupted, stop_signals_raise
from asd_experiments.search import study as studies
from asd_experiments.search.choosing import Pruning, pruner_of, sampler_of
from asd_experiments.search.objective import (
    Report,
    RunConfiguration,
    Task,
    run_configuration,
)
from asd_experiments.search.space import ExcludedError, SearchSpace
from asd_experiments.tracking.runs import PrunedError, is_tracker_lost, told_in_a_line
from asd_experiments.training.fit import training_device

_POLL_SECONDS = 1.0
_MOST_RESTARTS = 3  # of each worker: what kills it every time will go on to do so


@dataclass(frozen=True)
class Work:
    """Everything that a worker process needs."""

    task: Task
    space: SearchSpace
    storage: str
    study: str
    pruning: Pruning | None
    """When trials are stopped early; None: never."""

    deadline: float | None = None
    """When no further trial is begun, seconds since the epoch; None: never."""

    run: RunConfiguration = run_configuration
    """What is done with a configuration."""

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.deadline is not None and time.time() > self.deadline

    def open(self) -> Study:
        """The study, ready to draw configurations and to stop trials."""
        return studies.open_study(
            self.storage,
            self.study,
            sampler=sampler_of(self.space.sampler),
            pruner=pruner_of(self.pruning),
        )


def run_here(work: Work, *, workers: int) -> None:
    """Run trials in as many processes until none waits or runs any more.

    A process that dies costs nothing but time: another takes its place, and its trial goes on.

    Args:
        work: What is to be done.
        workers: Processes.

    Raises:
        InputError: If processes die again and again.
    """
    context = multiprocessing.get_context("spawn")

    def start() -> SpawnProcess:
        process = context.Process(target=run_trials, args=(work,))
        process.start()
        return process

    processes, restarts = [start() for _ in range(workers)], 0
    try:
        while any(process.is_alive() for process in processes):
            time.sleep(_POLL_SECONDS)
            for place, process in enumerate(processes):
                if process.exitcode not in (None, 0):
                    restarts += 1
                    if restarts > _MOST_RESTARTS * workers:
                        raise InputError(
                            "workers die again and again; see above, or the memory may not "
                            "suffice for so many at a time: choose fewer workers"
                        )
                    print(f"A worker died ({process.exitcode}); another begins.", file=sys.stderr)
                    processes[place] = start()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def run_trials(work: Work) -> None:
    """Take one waiting trial after the other until none waits or runs any more."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with stop_signals_raise():
        Thread(target=_stop_with_parent, daemon=True).start()
        study = work.open()
        while work.space.is_endless or not studies.is_done(study):
            if work.is_over:
                return
            trial = studies.claim(study, endless=work.space.is_endless)
            if trial is None:
                time.sleep(_POLL_SECONDS)
                continue
            try:
                run_trial(work, study, trial)
            except BaseException as error:
                studies.release(study, trial)
                if isinstance(error, Interrupted | KeyboardInterrupt):
                    return
                raise


def run_trial(work: Work, study: Study, trial: Trial) -> None:
    """Run one trial and tell the study its true state; what goes wrong fails it alone.

    Raises:
        BaseException: What is not the trial's fault: a request to stop, a lost tracking server.
    """
    key = studies.key_of(trial)
    trial.set_user_attr(studies.GPUS, float(training_device(work.task.device) == "cuda"))
    with studies.alive(study, trial):
        try:
            parameters = work.space.suggest(trial)
            values = work.run(work.task, key, parameters, reporter(study, trial))
        except ExcludedError:
            studies.exclude(study, trial)
        except PrunedError as stopped:
            study.tell(trial, state=TrialState.PRUNED)
            print(f"trial {key}: pruned {stopped}", flush=True)
        except Exception as error:
            if is_tracker_lost(error):
                raise
            tell_failure(study, trial, told_in_a_line(error, work.task.told))
        else:
            tell_values(study, trial, values, work.task.metrics)


def tell_values(
    study: Study, trial: Trial, values: Sequence[float], metrics: Sequence[str]
) -> None:
    """Tell the study, and the user, what a finished trial is judged by."""
    study.tell(trial, list(values))
    shown = zip(metrics, values, strict=True)
    told = ", ".join(f"{name} {value:.3f}" for name, value in shown)
    print(f"trial {studies.key_of(trial)}: {told}", flush=True)


def tell_failure(study: Study, trial: Trial, reason: str) -> None:
    """Tell the study, and the user, what went wrong with a trial."""
    trial.set_user_attr(studies.ERROR, reason)
    study.tell(trial, state=TrialState.FAIL)
    print(f"trial {studies.key_of(trial)}: failed, {reason}", file=sys.stderr, flush=True)


def reporter(study: Study, trial: Trial) -> Report:
    """Tell the study every epoch's loss, and stop where its pruner says so.

    Studies of several metrics are not pruned.
    """

    def report(step: int, loss: float) -> None:
        if len(study.directions) > 1:
            return
        trial.report(studies.signed(study, loss), step)
        if trial.should_prune():
            raise PrunedError(f"after {step} epochs at a mean validation loss of {loss:.3f}")

    return report


def _stop_with_parent() -> None:
    """Ask this process to stop when the one that began it is gone."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
