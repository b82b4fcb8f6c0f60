"""Trials on a Ray cluster, or on this machine as one: Ray Tune places them, the study decides.

Tune's own search algorithm for Optuna tells the study that a stopped trial is complete, and cannot
be restored after a crash: here Tune takes waiting trials from the study, and the study hears their
true ends.
"""

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread
from typing import Any

import ray
from optuna.study import Study
from optuna.trial import Trial, TrialState
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from asd_experiments.data.store import ClipStore
from asd_experiments.interruption import raise_if_stopped
from asd_experiments.ray_cluster import ClusterError, ask_nodes, connected
from asd_experiments.search import study as studies
from asd_experiments.search.local import Work, tell_failure, tell_values
from asd_experiments.search.nodes import Errand, obstacle
from asd_experiments.search.space import ExcludedError
from asd_experiments.tracking.runs import (
    is_of_one_machine,
    is_tracker_lost,
    told_in_a_line,
    without_login,
)

STEP, LOSS, VALUES, ERROR = "step", "loss", "values", "error"
_RETRIES = 4  # of a trial whose worker or node is lost: nodes come and go


def run_on_ray(
    work: Work,
    *,
    address: str | None,
    cpus: float,
    gpus: float | None,
    memory_bytes: int | None,
    most_at_a_time: int | None,
) -> None:
    """Run trials where Ray has room for them until none waits any more.

    Args:
        work: What is to be done.
        address: Ray cluster; None: this machine alone.
        cpus: Cores that a trial takes.
        gpus: GPUs that it takes; None: one where a node has any.
        memory_bytes: Memory that it takes; None: not counted.
        most_at_a_time: Most trials at a time; None: as there is room.

    Raises:
        InputError: If the cluster cannot be reached or has no room for a single trial.
    """
    study = work.open()
    with connected(address):
        resources = _resources(cpus, gpus, memory_bytes)
        if address is not None:  # this machine has just done what nodes are asked for
            _check_nodes(work)
        with _Session(study, work, resources.get("gpu", 0.0)) as session:
            _sessions[work.study] = session
            _tune(work, resources, most_at_a_time)


def _tune(work: Work, resources: dict[str, float], most_at_a_time: int | None) -> None:
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints tables that nobody wants
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # a space may name files of weights
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it ends as if all were done
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # files beside MLflow's
    tuner = tune.Tuner(
        # In Ray's memory: what belongs to the function itself, Tune writes into files.
        tune.with_resources(tune.with_parameters(_train, work=work), resources),
        tune_config=tune.TuneConfig(
            search_alg=_Searcher(work.study),
            scheduler=_scheduler(work),
            num_samples=-1,
            max_concurrent_trials=most_at_a_time,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=work.task.folder,
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except SystemError:  # what Ray's core makes of an exception that a signal raises there
        raise_if_stopped()
        raise


def _check_nodes(work: Work) -> None:
    """Refuse, before any trial, a cluster on which trials would fail or be lost."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    hosts = {node["NodeManagerAddress"] for node in nodes}
    if len(hosts) > 1 and is_of_one_machine(work.task.tracking_uri):
        raise ClusterError(
            f"MLFLOW_TRACKING_URI is {without_login(work.task.tracking_uri)}, which the "
            f"{len(hosts)} machines of the cluster do not share; start `mlflow server`, and give "
            "the address by which all of them know it"
        )
    errand = Errand(
        sweep_run_id=work.task.sweep_run_id,
        tracking_uri=work.task.tracking_uri,
        store=work.task.store,
        digest=ClipStore(work.task.store).digest,
        folder=work.task.folder,
        libraries={name: version(name) for name in ("torch", "mlflow", "zarr")},
    )
    ask_nodes(nodes, obstacle, ray.put(errand))


def _resources(cpus: float, gpus: float | None, memory_bytes: int | None) -> dict[str, float]:
    """What Ray keeps for a trial; refused where no node could ever hold it: Ray would wait."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU") for node in nodes) else 0.0
    wanted = {"CPU": cpus, "GPU": gpus, "memory": float(memory_bytes or 0)}
    if not any(all(n.get(what, 0) >= much for what, much in wanted.items()) for n in nodes):
        asked = ", ".join(f"{much:g} {what}" for what, much in wanted.items() if much)
        raise ClusterError(
            f"no node has room for a trial of {asked}; choose a smaller cpus_per_trial, "
            "gpus_per_trial or memory_per_trial"
        )
    return {
        what if what == "memory" else what.lower(): much for what, much in wanted.items() if much
    }


def _scheduler(work: Work) -> TrialScheduler:
    """Ray's ASHA, whose last check lies behind a trial's last epoch; else nothing is stopped."""
    if work.pruning is None:
        return FIFOScheduler()
    return AsyncHyperBandScheduler(
        time_attr=STEP,
        metric=LOSS,
        mode="min",
        grace_period=work.pruning.first,
        max_t=work.pruning.last + 2,
        reduction_factor=work.pruning.keeps_one_in,
        brackets=work.pruning.brackets,
    )


def _train(config: Mapping[str, Any], work: Work) -> None:
    """Run one trial in an actor of Tune's; the last report holds the values that it ends with.

    It holds the error that failed the trial, if one did. What raises here is tried again: a lost
    tracking server.
    """

    def report(step: int, loss: float) -> None:
        tune.report({STEP: step, LOSS: loss})
        last.update({STEP: step, LOSS: loss})

    last: dict[str, Any] = {STEP: 0, LOSS: float("inf")}
    end: dict[str, Any]
    try:
        values = work.run(work.task, config["key"], config["parameters"], report)
        end = {VALUES: list(values)}
    except Exception as error:
        if is_tracker_lost(error):
            raise
        end = {ERROR: told_in_a_line(error, work.task.told)}
    tune.report({**last, STEP: last[STEP] + 1, **end})


class _Session:
    """Trials of the study that Tune works on, kept alive in the study for as long as it does."""

    def __init__(self, study: Study, work: Work, gpus: float) -> None:
        self.study = study
        self.work = work
        self.gpus = gpus
        self.trials: dict[str, Trial] = {}
        self.steps: dict[str, int] = {}
        self._stop = Event()
        self._thread = Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "_Session":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for trial in self.trials.values():
            studies.release(self.study, trial)

    def _beat(self) -> None:
        while not self._stop.wait(studies.HEARTBEAT_SECONDS):
            for trial in list(self.trials.values()):
                studies.beat(self.study, trial)


_sessions: dict[str, _Session] = {}
"""The open sessions of this process, by the study's name: Tune copies its searcher, not them."""


class _Searcher(Searcher):
    """Takes trials from the study for Tune, and tells the study what became of them."""

    def __init__(self, study: str) -> None:
        super().__init__()
        self._study = study

    def set_search_properties(self, *_: object, **__: object) -> bool:
        """Take note of nothing: the search space is the study's."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Take a waiting trial; none left ends the search."""
        session = _sessions[self._study]
        while not session.work.is_over:
            trial = studies.claim(session.study, endless=session.work.space.is_endless)
            if trial is None:
                break
            try:
                parameters = session.work.space.suggest(trial)
            except ExcludedError:
                studies.exclude(session.study, trial)
                continue
            trial.set_user_attr(studies.GPUS, session.gpus)
            session.trials[trial_id] = trial
            return {"key": studies.key_of(trial), "parameters": dict(parameters)}
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an epoch to the study, unless an attempt that was lost has done so."""
        session = _sessions[self._study]
        if result.keys() & {VALUES, ERROR} or len(session.study.directions) > 1:
            return
        if result[STEP] > session.steps.get(trial_id, 0):
            session.steps[trial_id] = result[STEP]
            loss = studies.signed(session.study, result[LOSS])
            session.trials[trial_id].report(loss, result[STEP])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended: one without an end was stopped by the scheduler."""
        session = _sessions[self._study]
        if (trial := session.trials.pop(trial_id, None)) is None:
            return
        if error or not result:
            reason = f"its process, its node or the tracking server was lost {_RETRIES + 1} times"
            tell_failure(session.study, trial, reason)
        elif ERROR in result:
            tell_failure(session.study, trial, result[ERROR])
        elif VALUES in result:
            tell_values(session.study, trial, result[VALUES], session.work.task.metrics)
        else:
            session.study.tell(trial, state=TrialState.PRUNED)
            print(f"trial {studies.key_of(trial)}: pruned", flush=True)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: all that is to be kept is in the study."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: all that was kept is in the study."""
