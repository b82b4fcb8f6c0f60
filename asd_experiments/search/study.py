"""The study of a sweep: an Optuna study of its own, whose waiting trials are the budget.

Every trial that the sweep may still begin waits in the study, so any number of processes take
trials from it, none is begun twice, and a sweep that broke off knows what is left.
"""

import fcntl
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import optuna
from optuna.exceptions import (
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.storages._rdb.models import TrialModel
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import select
from sqlalchemy.engine import make_url

from asd_experiments.errors import InputError
from asd_experiments.search.settings import Direction

HEARTBEAT_SECONDS = 10
"""How often a process that works on a trial says that it lives."""

GRACE_SECONDS = 60
"""Silence after which a process is taken for dead, and its trial is tried again."""

MAX_RETRIES = 2
"""Times that a trial is tried again after its process died."""

EXCLUDED = "excluded"
"""Attribute of a trial that drew what the search space leaves out: it is none."""

ERROR = "error"
"""Attribute of a failed trial: what went wrong."""

GPUS = "gpus"
"""Attribute of a trial: GPUs that it holds while it runs."""

_RELEASED = "released"


def make_study(url: str, name: str, objectives: Mapping[str, Direction]) -> Study:
    """Make a study in a database.

    Args:
        url: Database, as SQLAlchemy writes it; not the one that MLflow uses.
        name: Name of the study.
        objectives: Names of its values, and whether small or large ones are good.

    Raises:
        InputError: If the database cannot be used.
    """
    with _told_in_our_words(url), _without_advice():
        study = optuna.create_study(
            study_name=name, storage=_storage(url), directions=list(objectives.values())
        )
        study.set_metric_names(list(objectives))
        return study


def open_study(
    url: str,
    name: str,
    *,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> Study:
    """Open a study that is in a database.

    Args:
        url: Database, see `make_study`.
        name: Name of the study.
        sampler: Chooses parameters.
        pruner: Stops trials.

    Raises:
        InputError: If the database cannot be used, or the study is not there.
    """
    with _told_in_our_words(url), _without_advice():
        try:
            return optuna.load_study(
                study_name=name, storage=_storage(url), sampler=sampler, pruner=pruner
            )
        except KeyError as error:
            raise InputError(f"storage: there is no study {name!r} in {_shown(url)}") from error


def _storage(url: str) -> RDBStorage:
    return RDBStorage(
        _with_driver(url),
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=GRACE_SECONDS,
        heartbeat_stale_trial_callback=retry,
        engine_kwargs={"pool_pre_ping": True},
    )


@contextmanager
def _told_in_our_words(url: str) -> Iterator[None]:
    """Say what is wrong with a database in a line, without a password."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # SQLAlchemy's, the driver's and Optuna's own
        reason = str(error).splitlines()[0][:300]
        raise InputError(
            f"storage: {_shown(url)} cannot be used: {reason}; it must be a database of the "
            "studies' own, not MLflow's"
        ) from error


def enqueue(study: Study, configurations: Sequence[Mapping[str, Any]]) -> None:
    """Let trials wait; what a configuration leaves open, the sampler chooses when it begins."""
    for parameters in configurations:
        study.enqueue_trial(dict(parameters))


def claim(study: Study, *, endless: bool = False) -> Trial | None:
    """Take one of the waiting trials, for this process alone.

    Args:
        study: The study.
        endless: Whether to begin a new trial if none waits. Otherwise that gives None.
    """
    with _alone_at(study):
        with _without_advice():
            fail_stale_trials(study)
        for waiting in _ids(study, TrialState.WAITING):
            try:
                mine = study._storage.set_trial_state_values(waiting, TrialState.RUNNING)
            except UpdateFinishedTrialError:
                continue
            if mine:
                return _known(study, waiting)
        return study.ask() if endless else None


@contextmanager
def _alone_at(study: Study) -> Iterator[None]:
    """Be the only process that takes a trial: SQLite, unlike a server, locks no single row."""
    database = make_url(_backend(study).url)
    if database.get_backend_name() != "sqlite":
        yield
        return
    with Path(f"{database.database}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_done(study: Study) -> bool:
    """Whether no trial waits or runs any more."""
    return not _ids(study, TrialState.WAITING, TrialState.RUNNING)


def _ids(study: Study, *states: TrialState) -> list[int]:
    """Ids of the trials in these states, the oldest first.

    Optuna would read all that it keeps of every trial that waits, which takes a second for 1,000.
    """
    rule = TrialModel.study_id == study._study_id, TrialModel.state.in_(states)
    query = select(TrialModel.trial_id).where(*rule).order_by(TrialModel.trial_id)
    with _backend(study).engine.connect() as connection:
        return list(connection.scalars(query))


def _known(study: Study, trial_id: int) -> Trial:
    """A trial to work on; Optuna's cache takes parameters only of trials that it has read once."""
    cache: Any = study._storage
    if trial_id not in cache._trial_id_to_study_id_and_number:
        study.get_trials(deepcopy=False)
    return Trial(study, trial_id)


def _backend(study: Study) -> Any:
    """The study's database, without Optuna's cache before it."""
    return getattr(study._storage, "_backend", study._storage)


def key_of(trial: Trial | FrozenTrial) -> str:
    """What a trial and its retries have in common: the number of the first of them."""
    frozen = trial if isinstance(trial, FrozenTrial) else _as_stored(trial.study, trial)
    with _without_advice():
        first = RetryHeartbeatStaleTrialCallback.retried_trial_number(frozen)
    return str(frozen.number if first is None else first)


def _as_stored(study: Study, trial: Trial | FrozenTrial) -> FrozenTrial:
    """One trial as it is now, without a look at all the others."""
    return study._storage.get_trial(trial._trial_id)


def retry(study: Study, trial: FrozenTrial) -> None:
    """Let a trial wait again whose process died, unless that has happened too often."""
    released = trial.user_attrs.get(_RELEASED, 0)
    with _without_advice():
        RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRIES + released)(study, trial)


def exclude(study: Study, trial: Trial) -> None:
    """Put another trial in the place of one that drew what the search space leaves out."""
    trial.set_user_attr(EXCLUDED, True)
    study.tell(trial, state=TrialState.FAIL)
    study.enqueue_trial({})


def attempts(study: Study) -> list[FrozenTrial]:
    """All trials but those that are none."""
    return [trial for trial in study.trials if EXCLUDED not in trial.user_attrs]


def release(study: Study, trial: Trial | FrozenTrial) -> None:
    """Give a trial back that is not to blame for its end: it waits again, however often."""
    released = _as_stored(study, trial).user_attrs.get(_RELEASED, 0) + 1
    study._storage.set_trial_user_attr(trial._trial_id, _RELEASED, released)
    study.tell(trial.number, state=TrialState.FAIL)
    with _without_advice():
        RetryHeartbeatStaleTrialCallback()(study, _as_stored(study, trial))


def release_all(study: Study) -> None:
    """Give back what was begun; only for a study that no process works on."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        release(study, trial)


def beat(study: Study, trial: Trial) -> None:
    """Say that somebody works on a trial; while the database is away, it is not said."""
    with suppress(StorageInternalError):
        study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]


def signed(study: Study, loss: float) -> float:
    """A loss as the study's pruner understands it: reversed where large values are good."""
    return -loss if study.directions[0] == StudyDirection.MAXIMIZE else loss


@contextmanager
def alive(study: Study, trial: Trial) -> Iterator[None]:
    """Say now and then that this process lives, as long as it works on a trial."""
    stop = Event()

    def beat_now_and_then() -> None:
        beat(study, trial)
        while not stop.wait(HEARTBEAT_SECONDS):
            beat(study, trial)

    thread = Thread(target=beat_now_and_then, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _with_driver(url: str) -> str:
    """PostgreSQL by the driver that is installed: SQLAlchemy alone would look for another."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return f"postgresql+psycopg://{url.removeprefix(scheme)}"
    return url


def _shown(url: str) -> str:
    """An address without its user's name and password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


@contextmanager
def _without_advice() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
