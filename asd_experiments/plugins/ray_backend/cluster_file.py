"""The file cluster.json: where a Ray cluster takes jobs, and what a job is given there."""

import re
from collections.abc import Mapping
from dataclasses import field, fields
from typing import Annotated, Any

from mlflow.projects.utils import (
    MLFLOW_LOCAL_BACKEND_RUN_ID_CONFIG,
    PROJECT_BUILD_IMAGE,
    PROJECT_DOCKER_ARGS,
    PROJECT_DOCKER_AUTH,
    PROJECT_ENV_MANAGER,
    PROJECT_STORAGE_DIR,
    PROJECT_SYNCHRONOUS,
)
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
)
from pydantic.dataclasses import dataclass

from asd_experiments.errors import InputError, all_problems, did_you_mean, rule_of

EXAMPLE = '{"address": "http://HOST:8265"}'
RUN_VARIABLES = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")
"""Environment variables that tell a job which run is its own."""

STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
"""Environment variable of a job: seconds that it is given to end by itself."""

_OPTIONS_OF_MLFLOW = {
    *(PROJECT_ENV_MANAGER, PROJECT_SYNCHRONOUS, PROJECT_STORAGE_DIR),
    *(PROJECT_DOCKER_ARGS, PROJECT_DOCKER_AUTH, PROJECT_BUILD_IMAGE),
    MLFLOW_LOCAL_BACKEND_RUN_ID_CONFIG,
}


def _of_jobs_api(address: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+/?", address):
        raise ValueError(
            "must be where the cluster takes jobs, http://HOST:PORT with the port of its dashboard "
            "(8265 if none was chosen)"
        )
    return address.rstrip("/")


def _leaves_room(runtime_env: dict[str, Any]) -> dict[str, Any]:
    if "working_dir" in runtime_env:
        raise ValueError("working_dir is the project's folder; leave it out")
    variables = runtime_env.get("env_vars", {})
    if not isinstance(variables, dict) or not all(isinstance(v, str) for v in variables.values()):
        raise ValueError('env_vars must be names and texts, such as {"NAME": "1"}')
    if ours := [name for name in RUN_VARIABLES if name in variables]:
        raise ValueError(f"env_vars: {', '.join(ours)} is for the backend to set; leave it out")
    if not variables.get(STOP_WAIT, "0").isdigit():
        raise ValueError(f"env_vars: {STOP_WAIT} must be whole seconds, such as 60")
    excludes = runtime_env.get("excludes", [])
    if not isinstance(excludes, list) or not all(isinstance(name, str) for name in excludes):
        raise ValueError('excludes must be a list of texts, such as ["notes"]')
    return runtime_env


@dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ClusterFile:
    """What `--backend-config` gives."""

    address: Annotated[str, AfterValidator(_of_jobs_api)]
    """Where the cluster takes jobs: the address of its dashboard."""

    runtime_env: Annotated[dict[str, Any], AfterValidator(_leaves_room)] = field(
        default_factory=dict
    )
    """Ray's runtime environment of the job: `env_vars`, `pip`, `image_uri`, `excludes`, ..."""

    entrypoint_num_cpus: NonNegativeFloat | None = None
    """Cores that Ray keeps for the command itself."""

    entrypoint_num_gpus: NonNegativeFloat | None = None
    """GPUs that Ray keeps for the command itself."""

    entrypoint_memory: NonNegativeInt | None = None
    """Memory that Ray keeps for the command itself, bytes."""

    entrypoint_resources: dict[str, NonNegativeFloat] = field(default_factory=dict)
    """Resources of the cluster's own that Ray keeps for the command itself."""

    metadata: dict[str, str] = field(default_factory=dict)
    """What Ray shows beside the job."""

    send_credentials: Annotated[bool, Field(strict=True)] = True
    """Give the job the user, password and token of the tracking server that are set here."""


def read_cluster_file(given: Mapping[str, Any]) -> ClusterFile:
    """Check a backend config, in which MLflow has put its own options.

    Raises:
        InputError: If anything in it is wrong; the message lists all problems.
    """
    given = {key: value for key, value in given.items() if key not in _OPTIONS_OF_MLFLOW}
    names = [f.name for f in fields(ClusterFile)]
    problems = [f"{k}: no such key{did_you_mean(k, names)}" for k in given if k not in names]
    known = {key: value for key, value in given.items() if key in names}
    try:
        cluster = ClusterFile(**known)
    except ValidationError as error:
        problems += [_problem(e["loc"], e["msg"], known) for e in error.errors()]
    if problems:
        raise InputError(all_problems("with --backend-config", problems))
    return cluster


def _problem(place: tuple[int | str, ...], message: str, given: Mapping[str, Any]) -> str:
    name = str(place[0])
    if name not in given:
        return f"{name}: must be given: --backend-config cluster.json, a file with {EXAMPLE}"
    where = ".".join(str(step) for step in place)
    got = "" if name == "runtime_env" else f", got {given[name]!r}"  # it may hold a password
    return f"{where}: {rule_of(message)}{got}"
