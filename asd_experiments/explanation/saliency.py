"""Saliency of one clip: Grad-CAM of every network, integrated gradients of every stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam
from jaxtyping import Float
from torch import Tensor

from asd_experiments.explanation.observed import ObservedNetwork
from asd_experiments.models.fusion import MapShape, StreamName
from asd_experiments.models.two_stream import TwoStream

Method = Literal["grad_cam", "integrated_gradients"]

METHODS: dict[Method, str] = {
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "integrated gradients",
}

Map = Float[np.ndarray, "time height width"]
"""How much each place of a clip matters: 0 or more, in no unit."""


class MapName(NamedTuple):
    """What a map explains, and how."""

    source: str
    """A stream, or `joint`: one network that sees both."""

    method: Method
    """How it was computed."""

    @property
    def title(self) -> str:
        """The name as people read it."""
        source = "both streams" if self.source == "joint" else self.source
        return f"{source}, {METHODS[self.method]}"


@dataclass(frozen=True)
class Saliency:
    """Why a network gave one clip the log-odds of a class."""

    grad_cam: dict[str, Float[Tensor, "time height width"]]
    """What the last maps of each backbone say for the class, by its key, on the clip's grid."""

    grids: dict[str, MapShape]
    """Shape of those last maps, added up over their channels, by the backbone's key."""

    integrated_gradients: dict[StreamName, Float[Tensor, "channel time height width"]]
    """Share of every number of the clip in the log-odds, by stream; negative: against the class."""

    log_odds: float
    """Of the class, for this clip."""

    blank_log_odds: float
    """Of the class, for a blank clip, which integrated gradients start from."""

    @property
    def completeness_gap(self) -> float:
        """How far the integrated gradients are from adding up, as a share of what they add up to.

        Their sum is the difference that the clip makes to the log-odds, up to the error of the
        integral; with a share above 0.05 they want more steps.

        References:
            Sundararajan et al. 2017, section 5, https://arxiv.org/abs/1703.01365.
        """
        total = sum(float(values.double().sum()) for values in self.integrated_gradients.values())
        difference = self.log_odds - self.blank_log_odds
        return abs(total - difference) / max(abs(difference), 1e-6)

    @property
    def maps(self) -> dict[MapName, Map]:
        """All maps: of integrated gradients the size, summed over a stream's channels."""
        maps: dict[MapName, Map] = {}
        for source in ("appearance", "motion", "joint"):
            if source in self.grad_cam:
                maps[MapName(source, "grad_cam")] = self.grad_cam[source].cpu().numpy()
            if source in self.integrated_gradients:
                sizes = self.integrated_gradients[source].abs().sum(dim=0)
                maps[MapName(source, "integrated_gradients")] = sizes.cpu().numpy()
        return maps


def explain_clip(
    network: TwoStream,
    clip: Mapping[str, Float[Tensor, "_ time height width"]],
    target: int,
    *,
    steps: int,
    batch_size: int,
) -> Saliency:
    """Explain the log-odds of one class for one clip.

    Integrated gradients go from a blank clip, all zeros: a picture of the mean colour in which
    nothing moves. Grad-CAM's maps are as coarse as the network's last ones and are interpolated to
    the clip's grid.

    Args:
        network: Trained network; it is left in evaluation mode.
        clip: `appearance` and `motion` as the network sees them, where the network is.
        target: Index of the class.
        steps: Points on the way from the blank clip.
        batch_size: Points at a time.

    References:
        Selvaraju et al. 2017, section 3, https://arxiv.org/abs/1610.02391.
        Sundararajan et al. 2017, sections 3 and 5, https://arxiv.org/abs/1703.01365.
    """
    observed = ObservedNetwork(network)
    clips = tuple(clip[stream].unsqueeze(0) for stream in observed.streams)
    blank = tuple(torch.zeros_like(values) for values in clips)
    with torch.no_grad():
        odds, blank_odds = (float(observed(*c)[0, target]) for c in (clips, blank))
    integrated = IntegratedGradients(observed).attribute(
        clips, blank, target=target, n_steps=steps, internal_batch_size=batch_size
    )
    coarse = _grad_cam(observed, clips, target)
    grid = tuple(clips[0].shape[2:])
    return Saliency(
        grad_cam={key: _interpolated(maps, grid) for key, maps in coarse.items()},
        grids={key: MapShape(*maps.shape[1:]) for key, maps in coarse.items()},
        integrated_gradients={
            stream: values[0].detach()
            for stream, values in zip(observed.streams, integrated, strict=True)
        },
        log_odds=odds,
        blank_log_odds=blank_odds,
    )


def _grad_cam(
    observed: ObservedNetwork, clips: tuple[Tensor, ...], target: int
) -> dict[str, Float[Tensor, "1 1 time height width"]]:
    return {
        key: LayerGradCam(observed, layer).attribute(clips, target, relu_attributions=True)
        for key, layer in observed.last_maps.items()
    }


def _interpolated(
    maps: Float[Tensor, "1 1 _ _ _"], grid: tuple[int, ...]
) -> Float[Tensor, "time height width"]:
    fine: Tensor = LayerAttribution.interpolate(maps, grid, interpolate_mode="trilinear")
    return fine[0, 0].detach()
