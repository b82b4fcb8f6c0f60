"""RAFT: optical flow by a recurrent network over all-pairs correlations."""

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.optical_flow import (
    Raft_Large_Weights,
    Raft_Small_Weights,
    raft_large,
    raft_small,
)

from asd_experiments.data.resizing import rescale_flow
from preprocess.flow.flow import Flow
from preprocess.method import Method
from preprocess.network import HubNetwork, best_device

_SMALLEST_SIDE = 128
_SIDE_MULTIPLE = 8
_PAIRS_PER_BATCH = {"cpu": 4, "cuda": 32}
_SMALL = HubNetwork(
    option="flow=raft_small",
    name="raft_small",
    build=lambda: raft_small(weights=None),
    hub=Raft_Small_Weights.C_T_V2,
)
_LARGE = HubNetwork(
    option="flow=raft_large",
    name="raft_large",
    build=lambda: raft_large(weights=None),
    hub=Raft_Large_Weights.C_T_SKHT_V2,
)


class Raft:
    """torchvision's RAFT, on a GPU when there is one, there in half precision.

    The network needs sides of 128 px or more that are multiples of 8; other pictures are enlarged
    for it and the flow is brought back to their own grid.

    References:
        Teed and Deng 2020, https://arxiv.org/abs/2003.12039.
    """

    def __init__(self, network: nn.Module) -> None:
        self._device = best_device()
        self._network = network.to(self._device)

    @torch.inference_mode()
    def __call__(
        self,
        earlier: UInt8[np.ndarray, "pairs size size 3"],
        later: UInt8[np.ndarray, "pairs size size 3"],
    ) -> Float32[np.ndarray, "pairs size size 2"]:
        """Displacement of every pixel of `earlier` in `later`, pixels; channel 0 is x, 1 is y."""
        num_pairs = _PAIRS_PER_BATCH[self._device.type]
        places = [slice(start, start + num_pairs) for start in range(0, len(earlier), num_pairs)]
        return np.concatenate([self._between(earlier[p], later[p]) for p in places])

    def _between(
        self,
        earlier: UInt8[np.ndarray, "pairs size size 3"],
        later: UInt8[np.ndarray, "pairs size size 3"],
    ) -> Float32[np.ndarray, "pairs size size 2"]:
        size = earlier.shape[1]
        side = max(_SMALLEST_SIDE, -(-size // _SIDE_MULTIPLE) * _SIDE_MULTIPLE)
        one, other = (_to_network(p, side).to(self._device) for p in (earlier, later))
        with torch.autocast("cuda", torch.float16, enabled=self._device.type == "cuda"):
            flow = self._network(one, other)[-1].float()
        rescaled = rescale_flow(flow.transpose(0, 1), size)
        return np.ascontiguousarray(rescaled.permute(1, 2, 3, 0).cpu().numpy())


def _to_network(
    pictures: UInt8[np.ndarray, "pairs size size 3"], side: int
) -> Float[Tensor, "pairs 3 {side} {side}"]:
    """Pictures as the network expects them: channels first, -1 to 1, at least 128 px."""
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    if side == pictures.shape[1]:
        return batch
    return functional.interpolate(batch, size=(side, side), mode="bilinear")


def _method(network: HubNetwork) -> Method[Flow]:
    def build(weights: bytes | None) -> Raft:
        return Raft(network.network(weights))

    return Method(build, network.load_weights, libraries=("torch", "torchvision"), on_gpu=True)


RAFT_SMALL = _method(_SMALL)
RAFT_LARGE = _method(_LARGE)
