"""Videos to classify spread over a Ray cluster; imported only when a cluster is asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import ray

from asd_experiments.prediction.plan import Plan, Result
from asd_experiments.ray_cluster import ClusterError, ask_nodes, connected, other_library
from preprocess.cluster import GPU_SHARE, spread, working_nodes
from preprocess.pipeline import device_here


@dataclass(frozen=True)
class Errand:
    """What the nodes need to know; it travels once to each of them."""

    plan: Plan

    libraries: Mapping[str, str]
    """Name and version of what must be the same on all nodes."""

    device: str | None
    """Kind of device that every node must compute on, "cpu" or "cuda"; None: it does not matter."""


def on_cluster(
    plan: Plan,
    videos: Sequence[str],
    *,
    libraries: Mapping[str, str],
    device: str | None,
    address: str,
    most_at_a_time: int | None,
) -> Iterator[Result]:
    """Classify videos on the nodes of a Ray cluster; results come as they finish.

    A worker or node that is lost costs its videos in flight, which are tried again. The model
    travels with the work: nodes need not reach MLflow.

    Args:
        plan: What is to be done, with the contents of the model's files.
        videos: Names of the videos.
        libraries: Name and version of what must be the same on all nodes.
        device: Kind of device that every node must compute on; None: it does not matter.
        address: See `ray.init`.
        most_at_a_time: Most videos that are handed out at a time; None: as the cluster has room.

    Raises:
        ClusterError: If the cluster cannot be reached, or a node cannot do the work.
    """
    shared = replace(plan, videos=plan.videos.resolve())
    with connected(address):
        errand = ray.put(Errand(shared, libraries, device))
        nodes = working_nodes(on_gpu=device == "cuda")
        if not nodes:
            raise ClusterError(
                "no node of the cluster offers a GPU, but this machine computes on one; add such "
                "a node, or choose device=cpu (and CUDA_VISIBLE_DEVICES= in the environment, if "
                "the model preprocesses on a GPU)"
            )
        ask_nodes(nodes, obstacle, errand)
        yield from spread(
            errand,
            videos,
            obstacle=obstacle,
            lost=Result.lost,
            gpu_share=GPU_SHARE if device == "cuda" else 0.0,
            most_at_a_time=most_at_a_time,
        )


def obstacle(errand: Errand) -> str | None:
    """Why this node cannot do the work; None if it can."""
    if reason := other_library(errand.libraries):
        return reason
    if errand.device is not None and (here := device_here()) != errand.device:
        return (
            f"it computes on {here}, but the machine that the command was started on computes on "
            f"{errand.device}; take such nodes, or choose device= and CUDA_VISIBLE_DEVICES= so "
            "that all are alike"
        )
    if not all((errand.plan.videos / video).exists() for video in errand.plan.sums):
        return "it does not see all videos; put them on a disk that all nodes share"
    return None
