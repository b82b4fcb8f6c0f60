"""The videos of a cohort spread over a Ray cluster; imported only when a cluster is asked for."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any, TypeVar
from uuid import uuid4

import ray
import zarr
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)

from asd_experiments.data.storage import StoreError, absolute_url, open_storage
from asd_experiments.errors import InputError
from asd_experiments.ray_cluster import ClusterError, ask_nodes, connected, other_library
from preprocess.dispatch import dispatch
from preprocess.pipeline import device_here
from preprocess.worker import Plan, Result

Done = TypeVar("Done")

_ATTEMPTS = 4  # nodes come and go: more than on one machine
_LONGEST_RUN_SECONDS = 7 * 24 * 3600
GPU_SHARE = 0.25
"""Share of one GPU that a video takes."""

_DEATHS = (
    WorkerCrashedError,
    NodeDiedError,
    LocalRayletDiedError,
    OutOfMemoryError,
    ObjectLostError,
)


@dataclass(frozen=True)
class Errand:
    """What the nodes need to know; it travels once to each of them."""

    plan: Plan
    videos: Sequence[str]
    mark: str
    """Group in the store that tells it from any other store."""

    libraries: Mapping[str, str]
    """Name and version of what must be the same on all nodes."""


def on_cluster(
    plan: Plan, videos: Sequence[str], *, address: str, most_at_a_time: int | None
) -> Iterator[Result]:
    """Store videos on the nodes of a Ray cluster; results come as they finish.

    A worker or node that is lost costs its videos in flight, which are tried again.

    Args:
        plan: What is to be done.
        videos: Names of the videos.
        address: See `ray.init`.
        most_at_a_time: Most videos that are handed out at a time; None: as the cluster has room.

    Raises:
        ClusterError: If the cluster cannot be reached, or a node cannot do the work.
    """
    shared = replace(plan, videos=plan.videos.resolve(), store=absolute_url(plan.store))
    with connected(address), marked(shared.store) as mark:
        libraries = {**plan.libraries, "numpy": version("numpy"), "zarr": version("zarr")}
        errand = ray.put(Errand(shared, videos, mark, libraries))
        _probe_nodes(errand, shared.device)
        share = GPU_SHARE if shared.device == "cuda" else 0.0
        yield from spread(
            errand,
            videos,
            obstacle=obstacle,
            lost=Result.lost,
            gpu_share=share,
            most_at_a_time=most_at_a_time,
        )


def spread(
    errand: "ray.ObjectRef[Any]",
    videos: Sequence[str],
    *,
    obstacle: Callable[[Any], str | None],
    lost: Callable[[str], Done],
    gpu_share: float,
    most_at_a_time: int | None,
) -> Iterator[Done]:
    """Have every video done somewhere in the cluster that this process is connected to.

    Args:
        errand: What a node needs to know; its `plan` builds what a process works with.
        videos: Names of the videos.
        obstacle: Why a node cannot do the work, see `ask_nodes`.
        lost: Result of a video that has killed too many workers.
        gpu_share: Share of one GPU that a video takes.
        most_at_a_time: Most videos that are handed out at a time; None: as the cluster has room.

    Raises:
        InputError: If a node cannot do the work, or what it works with raises one.
    """
    # With retries of its own, Ray tries for ever a video that never fits into memory.
    task = ray.remote(num_cpus=1, num_gpus=gpu_share, max_retries=0)(_work)

    def submit(video: str) -> "Future[Done]":
        future: Future[Done] = task.remote([errand], obstacle, video).future()
        return future

    room = most_at_a_time or 2 * round(ray.cluster_resources()["CPU"])
    try:
        yield from dispatch(
            videos, submit, lost=lost, in_flight=room, attempts=_ATTEMPTS, deaths=_DEATHS
        )
    except RayTaskError as error:
        raise _mendable(error) from error


def _mendable(error: RayTaskError) -> BaseException:
    """What a user can mend, without Ray's traceback around it."""
    return error.cause if isinstance(error.cause, InputError) else error


@contextmanager
def marked(store: str) -> Iterator[str]:
    """Mark a store while nodes work on it: a node that does not see the mark has another one.

    Marks that killed runs have left are removed; a young one may be somebody's who works here too.
    """
    mark = f"mark_{uuid4().hex}"
    root = zarr.open_group(open_storage(store), mode="a", zarr_format=3)
    for name, group in list(root.groups()):
        if name.startswith("mark_") and time.time() - _made_at(group) > _LONGEST_RUN_SECONDS:
            del root[name]
    root.create_group(mark, attributes={"made_at": time.time()})
    try:
        yield mark
    finally:
        del root[mark]


def _made_at(mark: zarr.Group) -> float:
    seconds = mark.attrs.get("made_at")
    return seconds if isinstance(seconds, float) else 0.0


def working_nodes(*, on_gpu: bool) -> list[dict[str, Any]]:
    """Nodes of the cluster that get videos, which may be none.

    Raises:
        ClusterError: If no node has a CPU.
    """
    nodes = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1]
    if not nodes:
        raise ClusterError("no node of the cluster has a CPU to work with; add one")
    return [node for node in nodes if node["Resources"].get("GPU") or not on_gpu]


def _probe_nodes(errand: "ray.ObjectRef[Errand]", device: str | None) -> None:
    """Check before any work that every node can do it."""
    nodes = working_nodes(on_gpu=device == "cuda")
    if not nodes:
        raise ClusterError(
            "no node of the cluster offers a GPU, but the store is computed on one; add such a "
            "node, or start preprocess with CUDA_VISIBLE_DEVICES= in its environment and take a "
            "new store"
        )
    ask_nodes(nodes, obstacle, errand)


def obstacle(errand: Errand) -> str | None:
    """Why this node cannot do the work; None if it can."""
    if reason := other_library(errand.libraries):
        return reason
    if reason := _other_device(errand.plan.device):
        return reason
    if not all((errand.plan.videos / video).exists() for video in errand.videos):
        return "it does not see all videos; put them on a disk that all nodes share"
    try:
        storage = open_storage(errand.plan.store, read_only=True)
        seen = errand.mark in zarr.open_group(storage, mode="r", zarr_format=3)
    except (ImportError, OSError, ValueError, StoreError) as error:
        reason = type(error.__cause__ or error).__name__
        return f"it cannot open the store ({reason}); see that all nodes reach it"
    if not seen:
        return "it sees another store; take one on a disk that all nodes share, or s3://..."
    return None


def _other_device(wanted: str | None) -> str | None:
    """Say that networks compute on another kind of device here than the store was begun on."""
    if wanted is None or device_here() == wanted:
        return None
    if wanted == "cpu":
        return (
            "it computes on a GPU, but the store on the CPU, like the machine that preprocess was "
            "started on; start it where there is a GPU and take a new store, or start Ray on the "
            "node with CUDA_VISIBLE_DEVICES= in its environment"
        )
    return "its PyTorch finds no GPU, but the store is computed on one; mend that or take it away"


@cache
def _worker(
    errand: "ray.ObjectRef[Any]", obstacle: Callable[[Any], str | None]
) -> Callable[[str], Any]:
    """Worker of this process, built with its first video; its node may have joined just now."""
    content = ray.get(errand)
    if reason := obstacle(content):
        raise ClusterError(reason)
    worker: Callable[[str], Any] = content.plan.worker()
    return worker


def _work(
    errand: "list[ray.ObjectRef[Any]]", obstacle: Callable[[Any], str | None], video: str
) -> Any:
    """Do one video; the errand comes in a list, or Ray would unpack it for every video."""
    try:
        return _worker(errand[0], obstacle)(video)
    except InputError as error:
        node = ray.get_runtime_context().get_node_id()
        raise ClusterError(f"node {node}: {error}") from error
