"""The way to a Ray cluster, which may be this machine alone."""

import json
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import ray

from asd_experiments.errors import InputError

_KNOCK_SECONDS = 10
_PACKAGES = ("asd_experiments", "preprocess")
_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # is the name of the variable


class ClusterError(InputError):
    """A Ray cluster cannot do the work; the message names the node and the remedy."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be part of a Ray cluster for a while, with this code on all nodes.

    Args:
        address: host:port, or auto for the cluster that this machine belongs to. None: a cluster
            of this machine alone, which ends with the block.

    Raises:
        ClusterError: If there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address or "")
        ray.init(
            address=address or "local",
            runtime_env=_code() if address else None,
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ClusterError(
            f"there is no Ray cluster at ray_address={address} ({reason}); "
            "start one with `ray start --head`, or leave ray_address out"
        ) from error
    try:
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own there
        yield
    finally:
        ray.shutdown()


def _code() -> dict[str, list[str]]:
    """The part of Ray's runtime environment that brings this code to all nodes.

    A job of Ray's Jobs API has brought the folder that it works in to all of them: nothing is to be
    added to that, and Ray refuses a second `py_modules`.
    """
    folders = [
        Path(spec.origin).parent for spec in map(find_spec, _PACKAGES) if spec and spec.origin
    ]
    job = json.loads(os.environ.get(_JOB_CONFIG, "{}"))
    brought = "working_dir" in (job.get("runtime_env") or {})
    if brought and all(folder.is_relative_to(Path.cwd()) for folder in folders):
        return {}
    return {"py_modules": [str(folder) for folder in folders]}


def _knock(address: str) -> None:
    """Find out at once whether anybody listens at host:port: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
