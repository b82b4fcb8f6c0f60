"""Optical flow methods: one file per method, one line each in `FLOWS`."""

from asd_experiments.config import FlowName
from preprocess.flow.dis import DIS
from preprocess.flow.method import FlowMethod
from preprocess.flow.raft import RAFT_SMALL

FLOWS: dict[FlowName, FlowMethod] = {
    "dis": DIS,
    "raft_small": RAFT_SMALL,
}
