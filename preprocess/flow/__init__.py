"""Optical flow methods: one file per family, one line per method in `FLOWS`."""

import pkgutil

from asd_experiments.config import FlowName
from preprocess.flow.flow import Flow
from preprocess.method import Method

FLOWS: dict[FlowName, str] = {
    "dis": "preprocess.flow.dis:DIS",
    "raft_small": "preprocess.flow.raft:RAFT_SMALL",
    "raft_large": "preprocess.flow.raft:RAFT_LARGE",
}


def flow_method(name: FlowName) -> Method[Flow]:
    """Import a flow method."""
    method: Method[Flow] = pkgutil.resolve_name(FLOWS[name])
    return method
