"""Feature fusion: a gate chooses between the streams, unit by unit and clip by clip."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.fusion.fusion import (
    NUM_HIDDEN,
    Fusion,
    NetworkShape,
    Scores,
    linear_classifier,
)


class Gated(Fusion):
    """A gated multimodal unit: h = z tanh(A a) + (1 - z) tanh(M m), z = sigmoid(G [a, m]).

    The gate starts near 1/2, where both streams count half in every unit. Neither stream has scores
    of its own, since the gate looks at both: what a stream says is the answer when the other is
    blank.

    Shapes: features a `[clip, a]` and m `[clip, m]`; h and z `[clip, NUM_HIDDEN]`.

    References:
        Arevalo et al. 2017, section 3.1, https://arxiv.org/abs/1702.01992.
    """

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        sizes = {stream: networks[stream].num_features for stream in self.streams}
        self.appearance = nn.Linear(sizes["appearance"], NUM_HIDDEN)
        self.motion = nn.Linear(sizes["motion"], NUM_HIDDEN)
        self.gate = nn.Linear(sum(sizes.values()), NUM_HIDDEN)
        self.classifier = linear_classifier(NUM_HIDDEN, num_classes)

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip from the units that its gate lets pass."""
        appearance = torch.tanh(self.appearance(features["appearance"]))
        motion = torch.tanh(self.motion(features["motion"]))
        both = torch.cat([features["appearance"], features["motion"]], dim=1)
        gate = torch.sigmoid(self.gate(both))
        hidden = gate * appearance + (1 - gate) * motion
        return Scores(self.classifier(hidden), appearance=None, motion=None)
