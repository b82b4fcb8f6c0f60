"""The way to a Ray cluster, which may be this machine alone."""

import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asd_experiments.errors import InputError

_KNOCK_SECONDS = 10
_PROBE_SECONDS = 300  # imports take 8 s on an idle core, minutes on a node that works for others
_INSTALL = "install there what requirements.lock pins"
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
        if address is None:
            raise ClusterError(f"Ray cannot start on this machine: {reason}") from error
        raise ClusterError(
            f"there is no Ray cluster at ray_address={address} ({reason}); "
            "start one with `ray start --head`, or leave ray_address out"
        ) from error
    try:
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own there
        yield
    finally:
        ray.shutdown()


def ask_nodes(
    nodes: Sequence[Mapping[str, Any]],
    obstacle: Callable[[Any], str | None],
    errand: "ray.ObjectRef[Any]",
) -> None:
    """Check before any work that nodes can do it.

    Args:
        nodes: Of `ray.nodes()`.
        obstacle: Runs on every node: why it cannot do the work; None if it can.
        errand: What `obstacle` is called with.

    Raises:
        ClusterError: With the reason of every node that cannot.
    """
    # A process that has looked for a GPU sees all of the node's for good: it must do no work.
    probe = ray.remote(max_calls=1)(obstacle)
    answers = {}
    for node in nodes:
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = probe.options(num_cpus=0, scheduling_strategy=place)
        answers[f"node {node['NodeName']}"] = task.remote(errand)
    found = [f"{name}: {reason}" for name, ref in answers.items() if (reason := _answer(ref))]
    if found:
        raise ClusterError("\n  ".join(["not every node can do the work:", *found]))


def other_library(libraries: Mapping[str, str]) -> str | None:
    """Say which of these libraries is missing here, or has another version; None: all is well."""
    for name, wanted in libraries.items():
        if (found := _version(name)) != wanted:
            return f"it has {found or 'no'} {name}, not {wanted}; {_INSTALL}"
    return None


def _answer(probe: "ray.ObjectRef[str | None]") -> str | None:
    """What a probe says; where it could not even begin, why."""
    try:
        return ray.get(probe, timeout=_PROBE_SECONDS)
    except GetTimeoutError:
        return f"it does not answer within {_PROBE_SECONDS} s; restart it or take it away"
    except RayTaskError as error:
        return f"{type(error.cause).__name__}: {error.cause}; {_INSTALL}"
    except RayError as error:
        return f"{type(error).__name__}: {str(error).splitlines()[-1]}; {_INSTALL}"


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


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
