"""Whether a cluster is this machine, and whether its jobs can reach the tracking server."""

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow.utils.file_utils import local_file_uri_to_path

from asd_experiments.errors import InputError
from asd_experiments.tracking.runs import is_of_one_machine, without_login

_SQLITE = "sqlite:///"


def is_here(address: str, nodes: Callable[[], Iterable[str]]) -> bool:
    """Whether a cluster is this machine and no other.

    The address alone does not tell: behind a forwarded port, localhost is another machine.

    Args:
        address: Where it takes jobs.
        nodes: Tells the IP addresses of its nodes; asked only if need be.
    """
    host = urlsplit(address).hostname
    return host is not None and _is_mine(host) and all(_is_mine(node) for node in nodes())


def tracking_uri_for_job(uri: str, *, here: bool) -> str:
    """Address of a tracking server, as a job is to be told.

    A file keeps its place, though the job has another working folder.

    Args:
        uri: Address that is used here.
        here: Whether the job runs on this machine.

    Raises:
        InputError: If the job cannot reach it.
    """
    if not here and is_of_one_machine(uri):
        raise InputError(
            f"the nodes of the cluster cannot reach the tracking URI {without_login(uri)}, which "
            "is this machine's own; start an `mlflow server` that they reach, too, and set "
            "MLFLOW_TRACKING_URI to it (if they know it by another address than this machine, put "
            "that into cluster.json: runtime_env.env_vars.MLFLOW_TRACKING_URI)"
        )
    if uri.startswith(_SQLITE):
        return f"{_SQLITE}{Path(uri.removeprefix(_SQLITE)).absolute()}"
    if uri.startswith("file:") or ("://" not in uri and not uri.startswith("databricks")):
        return Path(local_file_uri_to_path(uri)).absolute().as_uri()
    return uri


def _is_mine(host: str) -> bool:
    """Whether an address is this machine's: a socket can be bound to no other."""
    try:
        places = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(_can_bind(family, kind, place) for family, kind, _, _, place in places)


def _can_bind(family: int, kind: int, place: Any) -> bool:
    try:
        with socket.socket(family, kind) as probe:
            probe.bind(place)
    except OSError:  # such as ::1 where there is no IPv6
        return False
    return True
