"""The command `sweep`: many trials, chosen by a sampler, judged by inner validation alone."""

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study

from asd_experiments.config import (
    REGISTERED_MODEL,
    SweepConfig,
    TrainConfig,
    as_text,
    close_defaults,
)
from asd_experiments.data.storage import absolute_url
from asd_experiments.data.store import ClipStore
from asd_experiments.demo import DEMO_DEFAULTS, demo_store
from asd_experiments.errors import InputError
from asd_experiments.interruption import Interrupted
from asd_experiments.pseudonyms import PARAMETER, Pseudonyms
from asd_experiments.registry.card import CARD_PAGE
from asd_experiments.registry.records import describe
from asd_experiments.registry.versions import CANDIDATE, register
from asd_experiments.search import report
from asd_experiments.search import study as studies
from asd_experiments.search.choosing import pruning_of
from asd_experiments.search.local import Work, run_here
from asd_experiments.search.objective import Task
from asd_experiments.search.reader import load_space
from asd_experiments.search.space import SearchSpace
from asd_experiments.search.values import Value
from asd_experiments.tracking.anonymity import begin_pseudonyms, pseudonyms_of, same_key, told_by
from asd_experiments.tracking.finished_trial import FinishedTrial
from asd_experiments.tracking.links import (
    artifact_link,
    compare_link,
    run_link,
    version_link,
)
from asd_experiments.tracking.runs import (
    COLLAPSED,
    close_as_killed,
    command_run,
    has_finished,
    tracking_uri,
    use_tracking_store,
    where_to_see,
)
from asd_experiments.tracking.sweep import (
    log_sweep_end,
    log_sweep_start,
    settle,
    trial_runs,
)
from asd_experiments.training.files import write_atomically

_FACTS, _SPACE, _DATABASE = "sweep.json", "space.yaml", "study.db"
_NOT_KEPT = ("tracking_uri", "folder", "pseudonyms")
_LEADS, _HELP = "leads.lock", "help.lock"


@dataclass(frozen=True)
class _Sweep:
    """A sweep that has begun: what its folder knows."""

    folder: Path
    task: Task
    storage: str
    started: float
    """Seconds since the epoch."""

    @property
    def run_id(self) -> str:
        return self.task.sweep_run_id

    def keep(self, *, is_open: bool) -> None:
        """Write all but addresses, which may hold a password, and the key of the pseudonyms.

        Args:
            is_open: Whether runs may be open that nothing closes if this process dies.
        """
        task = {n: v for n, v in asdict(self.task).items() if n not in _NOT_KEPT}
        names = self.task.pseudonyms
        facts = {"task": task, "started": self.started, "is_open": is_open}
        facts["anonymised"] = None if names is None else names.fingerprint
        _write_facts(self.folder, facts)

    @classmethod
    def find(cls, config: SweepConfig, run_id: str) -> "_Sweep":
        folder = (Path(config.folder) / run_id).resolve()
        if not (folder / _FACTS).is_file():
            raise InputError(
                f"resume: {folder.parent} has nothing of a sweep {run_id}; give the folder= that "
                "it was begun with"
            )
        facts = _read_facts(folder)
        kept = facts["task"] | {"metrics": tuple(facts["task"]["metrics"])}
        task = Task(**kept, tracking_uri=tracking_uri(), folder=str(folder))
        return cls(
            folder,
            replace(task, pseudonyms=_same_names(config, task, facts.get("anonymised"))),
            storage=_storage(config, folder),
            started=facts["started"],
        )


def sweep(config: SweepConfig) -> str:
    """Search over configurations; every trial is a run below the sweep's in MLflow.

    With `resume`, a sweep that broke off goes on; one that another process works on is joined.

    Returns:
        Id of the sweep's run.

    Raises:
        InputError: If space, store or machine do not fit together; before any trial.
        SystemExit: At the end, if a trial failed; at once, if somebody stops it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    use_tracking_store()
    _close_what_crashed(Path(config.folder), resumed=config.resume)
    run_id, failed = _go_on(config, config.resume) if config.resume else _start(config)
    print("\n".join(where_to_see(run_id)))
    if failed:
        told = "1 trial failed; its run in MLflow says why"
        if failed > 1:
            told = f"{failed} trials failed; their runs in MLflow say why"
        raise SystemExit(f"sweep: {told}")
    return run_id


def _start(config: SweepConfig) -> tuple[str, int]:
    """Begin a sweep and lead it to its end."""
    defaults = {} if config.store else DEMO_DEFAULTS
    space = _with_budget(load_space(config.space, defaults=defaults), config.trials)
    store = ClipStore(absolute_url(config.store or demo_store(config.seed)))
    pseudonyms = _new_names(config, space, store)
    with (
        command_run(config.run_name, f"sweep {space.name}", told=told_by(pseudonyms)) as run_id,
        _told_how_to_resume(run_id),
    ):
        begun = _begin(config, space, store, run_id, pseudonyms)
        with _locked(begun.folder / _LEADS, wait=True):
            return run_id, _lead(config, begun, space)


def _go_on(config: SweepConfig, run_id: str) -> tuple[str, int]:
    """Lead a sweep that broke off to its end, or help the process that leads it."""
    if has_finished(run_id):
        raise InputError(f"resume: the sweep {run_id} has finished; nothing is left to do")
    begun = _Sweep.find(config, run_id)
    _check_space(config, begun)
    space = load_space(begun.folder / _SPACE, defaults=begun.task.defaults)
    space = _with_budget(space, config.trials)
    with _locked(begun.folder / _LEADS) as leads:
        if leads:
            told = begun.task.told
            with command_run(None, "", again=run_id, told=told), _told_how_to_resume(run_id):
                return run_id, _lead(config, begun, space)
    if config.engine == "ray":
        raise InputError(
            f"resume: another process leads the sweep {run_id}; a Ray cluster grows by `ray start "
            "--address`, and a sweep that was begun with engine=optuna is joined with it"
        )
    print(f"Another process leads the sweep {run_id}: this one joins it.")
    with _locked(begun.folder / _HELP, shared=True, wait=True):
        run_here(_work(config, begun, space), workers=config.workers or 1)
    return run_id, 0


def _lead(config: SweepConfig, begun: _Sweep, space: SearchSpace) -> int:
    """Run all trials that wait and log what came out; the number of those that failed."""
    work = _work(config, begun, space)
    study = work.open()
    with _locked(begun.folder / _HELP) as alone:
        if alone:  # else heartbeats tell which trials somebody works on
            studies.release_all(study)
    begun.keep(is_open=True)
    try:
        _run(config, work)
    finally:
        settle(begun.run_id, report.run_states(study))
    failed = _finish(study, begun, space)
    begun.keep(is_open=False)
    return failed


def _check_space(config: SweepConfig, begun: _Sweep) -> None:
    """A sweep goes on in the space that it was begun with; another one was probably a mistake."""
    given = Path(config.space)
    if config.space == SweepConfig().space or not given.is_file():
        return
    if given.read_bytes() != (begun.folder / _SPACE).read_bytes():
        raise InputError(
            f"space: the sweep {begun.run_id} was begun with another search space than "
            f"{config.space} (kept in {begun.folder / _SPACE}); leave space= out to go on with it"
        )


@contextmanager
def _told_how_to_resume(run_id: str) -> Iterator[None]:
    try:
        yield
    except Interrupted as error:
        raise SystemExit(
            f"sweep: {error}; what is done is kept. To go on, give the same command again with "
            f"resume={run_id}"
        ) from error


def _run(config: SweepConfig, work: Work) -> None:
    if config.engine == "optuna":
        run_here(work, workers=config.workers or 1)
        return
    cluster = import_module("asd_experiments.search.cluster")  # Ray takes seconds to import
    memory = config.memory_per_trial
    cluster.run_on_ray(
        work,
        address=config.ray_address,
        cpus=config.cpus_per_trial,
        gpus=config.gpus_per_trial,
        memory_bytes=None if memory is None else round(memory * 2**30),
        most_at_a_time=config.workers,
    )


def _new_names(config: SweepConfig, space: SearchSpace, store: ClipStore) -> Pseudonyms | None:
    """Pseudonyms for a sweep that begins; None where ids are logged."""
    if not (config.store is not None if config.anonymise is None else config.anonymise):
        return None
    return begin_pseudonyms(store, key_file=config.pseudonym_key, group_by=_group_by(space))


def _group_by(space: SearchSpace) -> str:
    return str(space.fixed.get("group_by") or TrainConfig().group_by)


def _same_names(config: SweepConfig, task: Task, fingerprint: str | None) -> Pseudonyms | None:
    """The pseudonyms that a sweep was begun with, on whatever machine; None: it has ids."""
    if config.anonymise not in (None, fingerprint is not None):
        raise InputError(
            f"anonymise: the sweep {task.sweep_run_id} was begun with "
            f"{as_text(fingerprint is not None)}; leave anonymise= out to go on with it"
        )
    if fingerprint is None:
        return None
    key = same_key(config.pseudonym_key, fingerprint, f"the sweep {task.sweep_run_id}")
    space = load_space(Path(task.folder) / _SPACE, defaults=task.defaults)
    return pseudonyms_of(ClipStore(task.store), key, _group_by(space))


def _begin(
    config: SweepConfig,
    space: SearchSpace,
    store: ClipStore,
    run_id: str,
    pseudonyms: Pseudonyms | None,
) -> _Sweep:
    """Make the sweep's folder and its study, in which all trials wait."""
    folder = (Path(config.folder) / run_id).resolve()
    folder.mkdir(parents=True)
    shutil.copyfile(config.space, folder / _SPACE)
    begun = _Sweep(
        folder,
        Task(
            sweep_run_id=run_id,
            tracking_uri=tracking_uri(),
            store=str(store.url),
            is_demo=config.store is None,
            folder=str(folder),
            device=config.device,
            loader_workers=config.loader_workers,
            metrics=tuple(objective.metric for objective in space.objectives),
            pseudonyms=pseudonyms,
        ),
        storage=_storage(config, folder),
        started=time.time(),
    )
    waiting = _waiting(space)
    study = studies.make_study(
        begun.storage, run_id, {goal.metric: goal.direction for goal in space.objectives}
    )
    studies.enqueue(study, waiting)
    given = {n: v for n, v in asdict(config).items() if n not in ("storage", PARAMETER)}
    given["anonymise"] = pseudonyms is not None
    facts = {n: as_text(v) for n, v in given.items() if v is not None}
    facts |= {"space": space.name, "space_sha256": space.sha256}
    facts["trials"] = str(len(waiting)) if waiting else "as time allows"
    log_sweep_start(run_id, facts, folder / _SPACE, store, pseudonyms)
    begun.keep(is_open=False)
    return begun


def _work(config: SweepConfig, begun: _Sweep, space: SearchSpace) -> Work:
    fixed: dict[str, Any] = dict(space.fixed)
    usual = close_defaults(TrainConfig(**fixed), **begun.task.defaults)
    seconds = space.budget.time_seconds
    return Work(
        task=begun.task,
        space=space,
        storage=begun.storage,
        study=begun.run_id,
        pruning=pruning_of(space.pruner, epochs=usual.epochs, folds=usual.folds),
        deadline=None if seconds is None else begun.started + seconds,
    )


def _waiting(space: SearchSpace) -> list[dict[str, Value]]:
    """What each trial is given in advance: of a listed space all, else nothing."""
    if space.is_listed:
        return [space.drawn(configuration) for configuration in space.listed()]
    return [{} for _ in range(space.num_trials or 0)]


def _with_budget(space: SearchSpace, trials: int | None) -> SearchSpace:
    return replace(space, budget=replace(space.budget, trials=trials)) if trials else space


def _storage(config: SweepConfig, folder: Path) -> str:
    return config.storage or f"sqlite:///{folder / _DATABASE}"


def _finish(study: Study, begun: _Sweep, space: SearchSpace) -> int:
    """Log what came out, and register the best model; the number of failed trials."""
    runs = trial_runs(begun.run_id)
    metrics = begun.task.metrics
    table = report.trial_table(study, metrics, {key: run.info.run_id for key, run in runs.items()})
    best, told, to_best = report.best_trial(study), "No trial has finished.", []
    version = None
    figures: dict[str, float] = {"num_trials": float(len(table))}
    if best is not None:
        run = runs[studies.key_of(best)]
        version = register(run, REGISTERED_MODEL)
        number = str(version.version)
        told = (
            f"Best: {run.info.run_name}, registered as `models:/{REGISTERED_MODEL}/{number}`, "
            f"alias `{CANDIDATE}`."
        )
        to_best = [
            run_link(run, "the best trial"),
            version_link(REGISTERED_MODEL, number, "its model"),
            artifact_link(run.info.run_id, CARD_PAGE, "its card"),
        ]
        if COLLAPSED in run.data.tags:
            told += " Its networks have collapsed (see its run): do not take it for a classifier."
        figures |= {f"best/{name}": v for name, v in zip(metrics, best.values, strict=True)}
    cost = report.cost_of(study)
    figures |= {
        "trials/seconds": cost.seconds,
        "trials/gpu_seconds": cost.gpu_seconds,
        "trials/seconds_saved_by_pruning": cost.saved_seconds,
    }
    finished = [runs[key] for key, state in report.run_states(study).items() if state == "FINISHED"]
    links = [
        compare_link(finished or list(runs.values()), "Compare the trials"),
        artifact_link(begun.run_id, "sweep.html", "plots of the search"),
        artifact_link(begun.run_id, "trials.csv", "all trials as a table"),
        *to_best,
    ]
    log_sweep_end(
        begun.run_id,
        table,
        report.page_of_plots(study, metrics, f"Sweep {space.name}"),
        figures,
        report.note_of(study, metrics, table, cost, links, told),
    )
    if best is not None and version is not None:  # its card tells how the sweep ended
        describe(version, FinishedTrial.of(runs[studies.key_of(best)]))
    print(told)
    return int((table["state"] == "FAIL").sum())


def _close_what_crashed(root: Path, *, resumed: str | None) -> None:
    """Close the runs of sweeps that no process leads or helps any more.

    Args:
        root: Folder of the sweeps.
        resumed: The one that goes on now.
    """
    for file in root.glob(f"*/{_FACTS}"):
        folder, facts = file.parent, _read_facts(file.parent)
        if folder.name == resumed or not facts.get("is_open"):  # an earlier version did not say
            continue
        with _locked(folder / _LEADS) as leads, _locked(folder / _HELP) as alone:
            if leads and alone and close_as_killed(folder.name):
                _write_facts(folder, facts | {"is_open": False})


def _read_facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / _FACTS).read_text())
    return facts


def _write_facts(folder: Path, facts: dict[str, Any]) -> None:
    write_atomically(folder / _FACTS, lambda file: file.write_text(json.dumps(facts, indent=1)))


@contextmanager
def _locked(file: Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Hold a lock that goes with its process; yields whether it could be had.

    Args:
        file: The lock.
        shared: Whether others may hold it too, if they share it.
        wait: Whether to wait until it can be had.
    """
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    with file.open("a+") as lock:  # NFS lets nobody share who does not read
        try:
            fcntl.flock(lock, how)
        except BlockingIOError:
            yield False
        else:
            yield True
