"""Submit an entry point of an MLflow project to a Ray cluster."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from mlflow.exceptions import ExecutionException
from mlflow.projects.utils import (
    MLFLOW_LOCAL_BACKEND_RUN_ID_CONFIG,
    PROJECT_BUILD_IMAGE,
    PROJECT_DOCKER_ARGS,
    PROJECT_ENV_MANAGER,
    fetch_and_validate_project,
    get_or_create_run,
    load_project,
)
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_BACKEND, MLFLOW_RUN_NAME

from asd_experiments.errors import InputError
from asd_experiments.interruption import Interrupted
from asd_experiments.plugins.ray_backend.cluster_file import (
    STOP_WAIT,
    ClusterFile,
    read_cluster_file,
)
from asd_experiments.plugins.ray_backend.folder import EXCLUDED, check_size
from asd_experiments.plugins.ray_backend.job import (
    STOP_SECONDS,
    JobsClient,
    RayJobRun,
    check_runtime_env,
    connect,
    nodes_of,
    stoppable,
)
from asd_experiments.plugins.ray_backend.reach import is_here, tracking_uri_for_job
from asd_experiments.provenance import code_tags, is_project
from asd_experiments.tracking.runs import close_run, end_state

JOB = "asd.ray_job"
"""Tag of a run that holds the submission id of its job."""

_CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@dataclass(frozen=True)
class _Project:
    """An entry point that is ready to be submitted."""

    uri: str
    version: str | None
    folder: Path
    entry_point: str
    parameters: Mapping[str, str]
    command: str


def launch(
    project_uri: str,
    entry_point: str,
    parameters: Mapping[str, str],
    *,
    version: str | None,
    backend_config: Mapping[str, Any],
    tracking_uri: str,
    experiment_id: str,
) -> RayJobRun:
    """Submit an entry point's command, with the project's folder, as a job of a Ray cluster.

    Below the command `mlflow run`, which waits for no plugin, it waits for the job's end; for
    `mlflow.projects.run`, MLflow does, or the caller.

    Args:
        project_uri: The project: a folder, or a Git repository.
        entry_point: Which of its entry points.
        parameters: What the user gave with -P.
        version: Commit or branch of a Git repository.
        backend_config: Content of cluster.json, with MLflow's own options.
        tracking_uri: Tracking server of the run.
        experiment_id: Experiment of the run.

    Returns:
        The job with its run.

    Raises:
        ExecutionException: If anything is wrong, before a run is made; or if the job fails.
    """
    try:
        _refuse_options(backend_config)
        cluster = read_cluster_file(backend_config)
        project = _fetch(project_uri, version, entry_point, parameters)
        excludes = [*EXCLUDED, *cluster.runtime_env.get("excludes", [])]
        check_runtime_env({**cluster.runtime_env, "excludes": excludes})
        check_size(project.folder, excludes)
        jobs = connect(cluster.address)
        here = is_here(cluster.address, lambda: nodes_of(cluster.address))
        variables = cluster.runtime_env.get("env_vars", {})
        uri = tracking_uri_for_job(variables.get("MLFLOW_TRACKING_URI", tracking_uri), here=here)
    except InputError as error:
        raise ExecutionException(str(error)) from error
    environment = {
        "working_dir": str(project.folder),
        **cluster.runtime_env,
        "excludes": excludes,
        "env_vars": {
            STOP_WAIT: str(STOP_SECONDS),
            **_credentials(cluster),
            **variables,
            "MLFLOW_TRACKING_URI": uri,
        },
    }
    with stoppable():
        job = _submit(jobs, project, cluster, environment, backend_config, experiment_id)
        if _command_line() is not None:
            _wait(job)
    return job


def _refuse_options(backend_config: Mapping[str, Any]) -> None:
    """Refuse options of `mlflow run` that say where the command runs: the cluster does."""
    manager = backend_config.get(PROJECT_ENV_MANAGER)
    if manager not in (None, "local"):
        raise InputError(
            f"--env-manager {manager} cannot make an environment on a cluster; leave it out: the "
            "job has the Python of the nodes, and what runtime_env in cluster.json adds"
        )
    if backend_config.get(PROJECT_DOCKER_ARGS) or backend_config.get(PROJECT_BUILD_IMAGE):
        raise InputError(
            "--docker-args and --build-image have no meaning on a cluster; name the image of the "
            "nodes, or runtime_env.image_uri in cluster.json"
        )


def _fetch(
    uri: str, version: str | None, entry_point: str, parameters: Mapping[str, str]
) -> _Project:
    """Fetch a project and write its command.

    Parameters of type `path` stay as they are: they are paths of the cluster.
    """
    folder = fetch_and_validate_project(uri, version, entry_point, parameters)
    project = load_project(folder)
    if project.docker_env:
        raise InputError(
            "the project wants docker_env, which a cluster does not start; take its image for the "
            "nodes, or as runtime_env.image_uri in cluster.json, and another MLproject"
        )
    entry = project.get_entry_point(entry_point)
    if "ray_address" in entry.parameters and "ray_address" not in parameters:
        parameters = {**parameters, "ray_address": "auto"}  # the cluster that the job is on
    command = entry.compute_command(parameters, storage_dir=None)
    return _Project(uri, version, Path(folder), entry_point, parameters, command)


def _submit(
    jobs: JobsClient,
    project: _Project,
    cluster: ClusterFile,
    environment: dict[str, Any],
    backend_config: Mapping[str, Any],
    experiment_id: str,
) -> RayJobRun:
    """Make the run and submit the job; a run whose job cannot be submitted is closed."""
    client = MlflowClient()
    run = get_or_create_run(
        _run_to_take(backend_config),
        project.uri,
        experiment_id,
        project.folder,
        project.version,
        project.entry_point,
        project.parameters,
    )
    run_id: str = run.info.run_id
    job_id = f"mlflow-{run_id}-{uuid4().hex[:6]}"
    try:
        client.update_run(run_id, status="RUNNING")  # one that is taken may have ended before
        tags = {MLFLOW_PROJECT_BACKEND: "ray", JOB: job_id}
        if is_project(project.folder):  # the job's folder has no repository that would tell it
            tags |= code_tags(project.folder)
        for tag, value in tags.items():
            client.set_tag(run_id, tag, value)
        if name := (_command_line() or {}).get("run_name"):
            client.set_tag(run_id, MLFLOW_RUN_NAME, name)
        environment["env_vars"]["MLFLOW_RUN_ID"] = run_id
        environment["env_vars"]["MLFLOW_EXPERIMENT_ID"] = run.info.experiment_id
        # Ray warns of every folder that it leaves out itself; ours are the same and more.
        os.environ.setdefault("RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES", "")
        jobs.submit_job(
            entrypoint=project.command,
            submission_id=job_id,
            runtime_env=environment,
            metadata={"mlflow_run_id": run_id, **cluster.metadata},
            entrypoint_num_cpus=cluster.entrypoint_num_cpus,
            entrypoint_num_gpus=cluster.entrypoint_num_gpus,
            entrypoint_memory=cluster.entrypoint_memory,
            entrypoint_resources=cluster.entrypoint_resources or None,
        )
    except BaseException as error:
        with suppress(OSError, RuntimeError):  # it may have arrived all the same
            jobs.stop_job(job_id)
        close_run(run_id, end_state(error))
        if isinstance(error, OSError | RuntimeError | ValueError):
            raise ExecutionException(f"Ray does not take the job: {error}") from error
        if isinstance(error, Interrupted):
            raise KeyboardInterrupt(str(error)) from error
        raise
    print(f"Ray job {job_id} at {cluster.address} works on the run {run_id}.", flush=True)
    return RayJobRun(jobs, job_id, run_id, int(environment["env_vars"][STOP_WAIT]))


def _wait(job: RayJobRun) -> None:
    try:
        succeeded = job.wait()
    except KeyboardInterrupt as error:
        raise ExecutionException(
            f"Ray job {job.job_id} was stopped; its run {job.run_id} is closed"
        ) from error
    if not succeeded:
        raise ExecutionException(f"Ray job {job.job_id} of the run {job.run_id} failed")


def _run_to_take(backend_config: Mapping[str, Any]) -> str | None:
    """Id of a run that was made before; None: a new one is wanted.

    The environment counts on the command line alone: below another project's run it names that.
    """
    if run_id := backend_config.get(MLFLOW_LOCAL_BACKEND_RUN_ID_CONFIG):
        return str(run_id)
    options = _command_line()
    if options is None:
        return None
    return options.get("run_id") or os.environ.get("MLFLOW_RUN_ID") or None


def _command_line() -> Mapping[str, Any] | None:
    """Options of the command `mlflow run`; None if a program calls MLflow."""
    context = click.get_current_context(silent=True)
    if context is None:
        return None
    by = getattr(context.command.callback, "__module__", "")
    return context.params if by == "mlflow.cli" else None


def _credentials(cluster: ClusterFile) -> dict[str, str]:
    if not cluster.send_credentials:
        return {}
    return {name: os.environ[name] for name in _CREDENTIALS if os.environ.get(name)}
