"""Published weights of a backbone: where they are, how clips were normalised, what is the head.

Addresses and figures are the libraries' own, looked up when they are asked for: the table of all
backbones costs nothing to import.
"""

from dataclasses import dataclass
from typing import Any, Literal

from asd_experiments.normalisation import KINETICS, Normalisation

Dataset = Literal["kinetics400", "imagenet1k", "sports1m"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Weights that nobody has in a hub; a file of them can be given all the same."""

    dataset: Dataset | None = None
    """What the weights were trained on; None: there are none that this project knows of."""

    head: tuple[str, ...] = ()
    """Layers of the published network that are its classifier, and are left out."""

    module: str = ""
    """Submodule of the backbone that is the published network; "": the backbone itself."""

    renames: tuple[tuple[str, str], ...] = ()
    """Regular expressions, and what to put for them, that turn a file's names into ours."""

    pages: str = ""
    """Where files of weights are found, for people."""

    scale: Normalisation = KINETICS
    """How clips are normalised for these weights, where no library says it."""

    @property
    def url(self) -> str | None:
        """Address in a hub; None: in no hub."""
        return None

    @property
    def normalisation(self) -> Normalisation:
        """How clips are normalised for these weights."""
        return self.scale


@dataclass(frozen=True, kw_only=True)
class TorchvisionWeights(Published):
    """Weights in torchvision's hub, which also knows how frames are normalised for them."""

    name: str
    """Name of the weights, such as `R2Plus1D_18_Weights.KINETICS400_V1`."""

    @property
    def url(self) -> str:
        """Address in torchvision's hub."""
        return str(self._weights.url)

    @property
    def normalisation(self) -> Normalisation:
        """Mean and deviation of torchvision's own transform."""
        transform = self._weights.transforms()
        return Normalisation(mean=tuple(transform.mean), std=tuple(transform.std))

    @property
    def _weights(self) -> Any:
        from torchvision.models import get_weight

        return get_weight(self.name)


@dataclass(frozen=True, kw_only=True)
class PytorchvideoWeights(Published):
    """Weights in pytorchvideo's hub."""

    dataset: Dataset | None = "kinetics400"
    module: str = "network"

    name: str
    """Name of the hub's builder, such as `slow_r50`."""

    @property
    def url(self) -> str:
        """Address in pytorchvideo's hub."""
        from asd_experiments.models.backbones.pytorchvideo_builders import ADDRESSES

        return ADDRESSES[self.name]
