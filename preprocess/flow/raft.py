"""RAFT: optical flow by a recurrent network over all-pairs correlations."""

import pickle
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor
from torch.nn import functional
from torchvision.models import WeightsEnum
from torchvision.models.optical_flow import (
    RAFT,
    Raft_Large_Weights,
    Raft_Small_Weights,
    raft_large,
    raft_small,
)

from preprocess.flow.flow import Flow
from preprocess.method import Method, MethodError, WeightsSource

_SMALLEST_SIDE = 128
_SIDE_MULTIPLE = 8
_PAIRS_PER_BATCH = {"cpu": 4, "cuda": 32}


@dataclass(frozen=True)
class Network:
    """One of torchvision's RAFT networks: all in which they differ."""

    name: str
    """As the option `flow` says it."""

    build: Callable[..., RAFT]
    """Make the network, without weights."""

    hub: WeightsEnum
    """torchvision's own weights."""


SMALL = Network("raft_small", raft_small, Raft_Small_Weights.C_T_V2)
LARGE = Network("raft_large", raft_large, Raft_Large_Weights.C_T_SKHT_V2)


class Raft:
    """torchvision's RAFT, on a GPU when there is one, there in half precision.

    The network needs sides of 128 px or more that are multiples of 8; other pictures are enlarged
    for it and the flow is brought back to their own grid.

    References:
        Teed and Deng 2020, https://arxiv.org/abs/2003.12039.
    """

    def __init__(self, kind: Network, weights: Mapping[str, Tensor]) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = _network(kind, weights).to(self._device)

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
        return np.ascontiguousarray(rescale_flow(flow, size).permute(0, 2, 3, 1).cpu().numpy())


def rescale_flow(
    flow: Float[Tensor, "pairs 2 side side"], size: int
) -> Float[Tensor, "pairs 2 {size} {size}"]:
    """Resize square optical flow and keep it in pixels of the new grid."""
    side = flow.shape[-1]
    if side == size:
        return flow
    resized = functional.interpolate(flow, size=(size, size), mode="bilinear", antialias=True)
    return resized * (size / side)


def load_weights(kind: Network, source: WeightsSource) -> bytes:
    """Read a RAFT network's weights from a file, or download torchvision's.

    Args:
        kind: Which network.
        source: Its file is a state dictionary saved by torch or as safetensors; none: torchvision's
            own weights, from the local cache once they have been downloaded.

    Returns:
        The weights as safetensors.

    Raises:
        MethodError: If they cannot be read or downloaded, or belong to another network.
    """
    if source.config is not None:
        raise MethodError(f"flow={kind.name} has no config; leave flow_config out")
    weights = _download(kind) if source.file is None else _read(source.file)
    foreign = MethodError(
        f"flow_weights does not hold the weights of {kind.name}; "
        f"take the state dictionary from {kind.hub.url}"
    )
    if not isinstance(weights, dict):
        raise foreign
    if not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise foreign
    try:
        _network(kind, weights)
    except RuntimeError:
        raise foreign from None
    return safetensors.torch.save(
        {name: tensor.detach().float().contiguous() for name, tensor in sorted(weights.items())}
    )


def _download(kind: Network) -> object:
    try:
        return kind.hub.get_state_dict(progress=False, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise MethodError(
            f"the weights of {kind.name} cannot be downloaded ({error}); "
            f"fetch {kind.hub.url} elsewhere and pass flow_weights=FILE"
        ) from None


def _read(file: Path) -> object:
    unreadable = (
        OSError,
        RuntimeError,
        EOFError,
        LookupError,
        ValueError,
        pickle.UnpicklingError,
        safetensors.SafetensorError,
    )
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise MethodError(f"flow_weights: there is no file {file.name!r}") from None
    except unreadable as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MethodError(
            f"flow_weights: {file.name!r} is not a file of weights ({reason})"
        ) from None


def _network(kind: Network, weights: Mapping[str, Tensor]) -> RAFT:
    network = kind.build(weights=None)
    network.load_state_dict(dict(weights), strict=True)
    return network.eval()


def _to_network(
    pictures: UInt8[np.ndarray, "pairs size size 3"], side: int
) -> Float[Tensor, "pairs 3 {side} {side}"]:
    """Pictures as the network expects them: channels first, -1 to 1, at least 128 px."""
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    if side == pictures.shape[1]:
        return batch
    return functional.interpolate(batch, size=(side, side), mode="bilinear")


def _method(kind: Network) -> Method[Flow]:
    def build(weights: bytes | None) -> Raft:
        if weights is None:
            raise MethodError(f"flow={kind.name} needs its weights; see load_weights")
        return Raft(kind, safetensors.torch.load(weights))

    return Method(build, partial(load_weights, kind), libraries=("torch", "torchvision"))


RAFT_SMALL = _method(SMALL)
RAFT_LARGE = _method(LARGE)
