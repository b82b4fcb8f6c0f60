"""PyTorch networks: their weights from a file or from torchvision's hub, and where they run."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from asd_experiments.hub import fetch
from asd_experiments.weights import read_state
from preprocess.method import MethodError, WeightsSource, refuse_config


@dataclass(frozen=True)
class HubNetwork:
    """A network whose weights are in torchvision's hub, or in a file of the user's."""

    option: str
    """The option that chooses it, such as `flow=raft_small`."""

    name: str
    """Name of torchvision's builder."""

    build: Callable[[], nn.Module]
    """Make the network, with any weights."""

    hub: WeightsEnum
    """Weights to download when there is no file."""

    def load_weights(self, source: WeightsSource) -> bytes:
        """Read the weights from a file, or download torchvision's.

        Args:
            source: Its file is a state dictionary saved by torch or as safetensors; none:
                torchvision's own weights, from the local cache once they have been downloaded.

        Returns:
            The weights as safetensors.

        Raises:
            InputError: If the file cannot be read or downloaded.
            MethodError: If it holds the weights of another network.
        """
        refuse_config(source, self.option)
        file = source.file or fetch(self.hub.url, f"the weights of {self.name}", self._parameter)
        fitting = fit(self.build(), read_state(file, self._parameter))
        if fitting is None:
            raise MethodError(
                f"{self._parameter} does not hold the weights of {self.name}; "
                f"take the state dictionary from {self.hub.url}"
            )
        return to_bytes(fitting)

    def network(self, weights: bytes | None) -> nn.Module:
        """The network with its weights, ready to infer.

        Raises:
            MethodError: If there are no weights.
        """
        if weights is None:
            raise MethodError(f"{self.option} needs its weights; see load_weights")
        network = self.build()
        network.load_state_dict(safetensors.torch.load(weights), strict=True)
        return network.eval()

    @property
    def _parameter(self) -> str:
        return f"{self.option.split('=')[0]}_weights"


def fit(network: nn.Module, weights: object) -> dict[str, Tensor] | None:
    """Put weights into a network; give them back as it took them, or None if they do not fit."""
    if not isinstance(weights, dict):
        return None
    if not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        return None
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError:
        return None
    return weights


def to_bytes(weights: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Weights as safetensors in single precision; the same weights give the same bytes."""
    tensors = {name: _plain(tensor) for name, tensor in sorted(weights.items())}
    return safetensors.torch.save(tensors, metadata)


def metadata_of(weights: bytes) -> dict[str, str]:
    """Texts that travel with weights; see `to_bytes`.

    Args:
        weights: Safetensors: length of the header in 8 bytes, header in JSON, tensors.
    """
    length = int.from_bytes(weights[:8], "little")
    metadata: dict[str, str] = json.loads(weights[8 : 8 + length]).get("__metadata__", {})
    return metadata


def best_device() -> torch.device:
    """A GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
