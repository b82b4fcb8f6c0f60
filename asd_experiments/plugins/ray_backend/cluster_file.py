"""The file cluster.json: where a Ray cluster takes jobs, and what a job is given there."""

import re
from collections.abc import Mapping
from dataclasses import field
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
)
from pydantic.dataclasses import dataclass

from asd_experiments.plugins.given import checked

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
    own = {key: value for key, value in given.items() if key not in _OPTIONS_OF_MLFLOW}
    example = f": --backend-config cluster.json, a file with {EXAMPLE}"
    return checked(
        ClusterFile, own, what="--backend-config", example=example, secret={"runtime_env"}
    )
