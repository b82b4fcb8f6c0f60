"""Runs in MLflow: where they go, how they start, and in which state they end."""

import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME
from requests.exceptions import ChunkedEncodingError, ConnectionError, RetryError, Timeout

from asd_experiments.config import as_text
from asd_experiments.interruption import Interrupted, stop_signals_raise
from asd_experiments.provenance import (
    CODE,
    COMMIT,
    DATA_DIGEST,
    UNVERSIONED,
    context_tags,
)

EXPERIMENT = "asd_experiments"
"""Experiment of runs that are started without `mlflow run` and without a chosen experiment."""

MAX_PARAM_LENGTH = 6000

ERROR = "asd.error"
"""Tag of a run that failed: what went wrong."""

GOES_ON_WITH = "asd.goes_on_with"
"""Tag of a run that was made to resume another: that run."""

COLLAPSED = "asd.collapsed"
"""Tag of the run of a fold, and of its trial, whose network gives every patient one answer."""

MODEL = "asd.model"
"""Tag of a trial's run: address of its logged model."""

RESOLVED = "resolved/"
"""Begins the name of a parameter whose raw text `mlflow run` had logged before."""

OPEN_STATES = ("RUNNING", "SCHEDULED")
"""States of runs that have not ended."""


def use_tracking_store(uri: str | None = None) -> None:
    """Track to MLFLOW_TRACKING_URI where it is set, else to a database in this folder.

    The address is absolute, so that it does not depend on a later change of folder.

    Args:
        uri: Track to this address instead.
    """
    # What is read and written here takes a moment; its bars would run into those of the training.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    if uri or not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(uri or f"sqlite:///{Path('mlflow.db').resolve()}")


@contextmanager
def command_run(
    name: str | None,
    default_name: str,
    *,
    discreet: bool = False,
    told: Callable[[str], str] | None = None,
    again: str | None = None,
) -> Iterator[str]:
    """Open the run of a command and close it in the right state, whatever happens.

    Under `mlflow run` it is the run that `mlflow run` opened.

    Args:
        name: Name that the user chose for the run.
        default_name: Name of the run if nobody chose one.
        discreet: Keep of an error its kind and place, not its message: it may name a patient.
        told: Turns an error into what is kept of it, such as one with pseudonyms. None: all is.
        again: Run to go on with, in the place of a new one; that of `mlflow run` says which.

    Yields:
        The run's id.
    """
    opened = os.environ.get("MLFLOW_RUN_ID")
    client = MlflowClient()
    with stop_signals_raise():
        if again:
            run = mlflow.start_run(again)
            if opened:
                client.set_tag(opened, GOES_ON_WITH, again)
        else:
            run = mlflow.start_run(
                experiment_id=_experiment_id(), run_name=None if opened else name or default_name
            )
        run_id = run.info.run_id
        try:
            tag_context(run)
            if name or _named_at_random(run):
                client.set_tag(run_id, MLFLOW_RUN_NAME, name or default_name)
            yield run_id
        except BaseException as error:
            mlflow.end_run(end_state(error))
            _keep_traceback(client, run_id, error, discreet=discreet, told=told)
            raise
        if again and ERROR in run.data.tags:  # why it had broken off
            client.delete_tag(run_id, ERROR)
        mlflow.end_run()


def tag_context(run: Run) -> None:
    """Say on a run what works on it; MLflow asks no plugin about a run that `mlflow run` made."""
    MlflowClient().log_batch(run.info.run_id, tags=_as_tags(_context_of(run)))


def _context_of(run: Run) -> dict[str, str]:
    """Tags of a run, or of one below it, that this process works on.

    What this process cannot know stays as it is: the data, and the commit of a folder that was sent
    to a cluster without its repository.
    """
    tags, known = context_tags(), run.data.tags
    kept = [DATA_DIGEST]
    if tags[CODE] == UNVERSIONED:
        kept += [CODE, COMMIT]
    return tags | {name: known[name] for name in kept if name in known}


def _as_tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in tags.items()]


class PrunedError(Exception):
    """A trial was stopped because others were better; what it has is partial."""


@contextmanager
def child_run(
    parent_run_id: str,
    name: str,
    *,
    level: str,
    key: str,
    told: Callable[[str], str] | None = None,
) -> Iterator[str]:
    """Open a run below another and close it in the right state, whatever happens.

    A child that an earlier process left open, or ended before its time, is opened again.

    Args:
        parent_run_id: The parent.
        name: Name of the child.
        level: "trial", "fold" or "refit".
        key: What tells the child from the parent's other children.
        told: Turns an error into what is kept of it, see `command_run`.

    Yields:
        The child's id.
    """
    client = MlflowClient()
    parent = client.get_run(parent_run_id)
    experiment = parent.info.experiment_id
    tags = {MLFLOW_PARENT_RUN_ID: parent_run_id, "asd.level": level, f"asd.{level}": key}
    rule = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())
    context = _context_of(parent)
    if known := client.search_runs([experiment], rule, max_results=1):
        run_id = known[0].info.run_id
        client.log_batch(run_id, tags=_as_tags(context))  # perhaps on another node
        client.update_run(run_id, status="RUNNING")
    else:
        run_id = client.create_run(experiment, run_name=name, tags=context | tags).info.run_id
    try:
        yield run_id
    except BaseException as error:
        if is_tracker_lost(error):  # it would be asked in vain for minutes
            raise
        client.set_terminated(run_id, end_state(error))
        if end_state(error) == "FAILED":
            _keep_traceback(client, run_id, error, told=told)
        raise
    client.set_terminated(run_id)


def close_as_killed(run_id: str) -> bool:
    """Close a run and all below it if their process died without doing so.

    Only for runs that no process works on any more.

    Returns:
        Whether this tracking server knows the run; another one's is left alone.
    """
    return close_run(run_id, "KILLED")


def close_run(run_id: str, state: str) -> bool:
    """Close a run in some state, and all below it as killed; what is closed already stays so.

    See `close_as_killed`.
    """
    client = MlflowClient()
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if is_tracker_lost(error):
            raise
        return False
    _close_below(client, run)
    if run.info.status in OPEN_STATES:
        client.set_terminated(run_id, state)
    return True


def _close_below(client: MlflowClient, run: Run) -> None:
    """Close the children first: a run that is closed has no open ones."""
    for child in runs_below(run):
        _close_below(client, child)
        if child.info.status in OPEN_STATES:
            client.set_terminated(child.info.run_id, "KILLED")


def runs_below(parent: Run) -> Iterator[Run]:
    """All children of a run, however many."""
    rule = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'"
    token = None
    while True:
        page = MlflowClient().search_runs([parent.info.experiment_id], rule, page_token=token)
        yield from page
        if not (token := page.token):
            return


def is_tracker_lost(error: BaseException) -> bool:
    """Whether an error says that the tracking server could not be reached, or broke off."""
    lost = ConnectionError | Timeout | RetryError | ChunkedEncodingError
    return any(isinstance(e, lost) for e in _chain(error))


def told_in_a_line(error: BaseException, told: Callable[[str], str] | None = None) -> str:
    """An error in the 500 characters that a tag or a table takes.

    Args:
        error: The error.
        told: Turns it into what is kept of it, see `command_run`.
    """
    text = f"{type(error).__name__}: {error}"
    return " ".join((told(text) if told else text).split())[:500]


def has_finished(run_id: str) -> bool:
    """Whether a run came to its end; one that this tracking server does not know did not."""
    try:
        return bool(MlflowClient().get_run(run_id).info.status == "FINISHED")
    except MlflowException:
        return False


def end_state(error: BaseException) -> str:
    """State of a run that ended by an exception: KILLED if it was stopped, else FAILED."""
    causes = (KeyboardInterrupt, Interrupted, PrunedError)
    stopped = any(isinstance(e, causes) for e in _chain(error))
    # So Ray ends a worker that it needs no more, because of a scheduler or the driver's end.
    stopped |= isinstance(error, SystemExit) and error.code == 0
    return "KILLED" if stopped else "FAILED"


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what caused it."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    return chain


def log_parameters(run_id: str, parameters: Mapping[str, object]) -> None:
    """Log resolved parameters beside the raw ones that `mlflow run` logged before.

    A parameter cannot be changed once it is logged. Where `mlflow run` logged another text than
    ours (`1e-4` for 0.0001, nothing for an open default), the resolved value is logged under
    `resolved/<name>`.
    """
    client = MlflowClient()
    known = client.get_run(run_id).data.params
    params = []
    for name, value in parameters.items():
        text = as_text(value)[:MAX_PARAM_LENGTH]
        if name not in known:
            params.append(Param(name, text))
        elif known[name] not in (text, f"'{text}'"):
            params.append(Param(f"{RESOLVED}{name}", text))
    client.log_batch(run_id, params=params)


def log_metrics(run_id: str, values: Mapping[str, float], step: int = 0) -> None:
    """Log several metrics in one request."""
    now = time.time_ns() // 1_000_000
    metrics = [Metric(name, value, now, step) for name, value in values.items()]
    for start in range(0, len(metrics), 1000):  # the most that one request takes
        MlflowClient().log_batch(run_id, metrics=metrics[start : start + 1000])


def logged_steps(run_id: str, metric: str) -> set[int]:
    """Steps at which a run has a metric."""
    return {point.step for point in MlflowClient().get_metric_history(run_id, metric)}


def where_to_see(run_id: str) -> list[str]:
    """Lines that tell a user how to open a run in the browser."""
    uri = tracking_address()
    experiment = MlflowClient().get_run(run_id).info.experiment_id
    # Unless it is told, MLflow shows what it has for language models around the run.
    place = f"#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"
    if uri.startswith("sqlite:"):
        program = Path(sys.executable).with_name("mlflow")
        return [
            f"See it:   {program} ui --backend-store-uri {uri}",
            f"          then open http://127.0.0.1:5000/{place}",
        ]
    return [f"See it:   {uri.rstrip('/')}/{place}"]


def tracking_uri() -> str:
    """Where this process tracks to, as other processes have to be told."""
    uri: str = mlflow.get_tracking_uri()
    return uri


def tracking_address() -> str:
    """Address of the tracking server, without a user's name and password."""
    return without_login(tracking_uri())


def is_of_one_machine(uri: str) -> bool:
    """Whether a tracking address is a file, or one that leads every machine to itself."""
    if "://" not in uri or uri.startswith(("file:", "sqlite")):
        return not uri.startswith("databricks")
    host = urlsplit(uri).hostname
    return host in (None, "localhost", "::1", "0.0.0.0") or host.startswith("127.")


def without_login(uri: str) -> str:
    """Address of a server without a user's name and password."""
    if uri.startswith("sqlite:"):
        return uri
    server = urlsplit(uri)
    return server._replace(netloc=server.netloc.rpartition("@")[2]).geturl()


def _named_at_random(run: Run) -> bool:
    """Whether MLflow made the name up, as `mlflow run` without --run-name has it do."""
    return bool(re.fullmatch(r"[a-z]+-[a-z]+-\d+", run.info.run_name or ""))


def _keep_traceback(
    client: MlflowClient,
    run_id: str,
    error: BaseException,
    *,
    discreet: bool = False,
    told: Callable[[str], str] | None = None,
) -> None:
    lines = traceback.format_exception(error)
    if discreet:
        lines = [*traceback.format_tb(error.__traceback__), type(error).__name__]
    text = "".join(lines)
    client.set_tag(run_id, ERROR, type(error).__name__ if discreet else told_in_a_line(error, told))
    client.log_text(run_id, told(text) if told else text, "traceback.txt")


def _experiment_id() -> str | None:
    """Experiment for a new run; None where MLflow's environment variables choose one."""
    if any(
        os.environ.get(f"MLFLOW_{key}") for key in ("RUN_ID", "EXPERIMENT_ID", "EXPERIMENT_NAME")
    ):
        return None
    client = MlflowClient()
    known = client.get_experiment_by_name(EXPERIMENT)
    return str(known.experiment_id if known else client.create_experiment(EXPERIMENT))
