"""What every late fusion is: a linear classifier per stream, whose scores are combined."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import log_softmax

from asd_experiments.models.fusion.fusion import Fusion, NetworkShape, Scores, linear_classifier


class LateFusion(Fusion):
    """A linear classifier per stream, and one rule that makes one answer of the two.

    Each stream's scores are its own classifier's. Features `[clip, feature]` of any two lengths.
    """

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        self.appearance = linear_classifier(networks["appearance"].num_features, num_classes)
        self.motion = linear_classifier(networks["motion"].num_features, num_classes)

    def combine(
        self, appearance: Float[Tensor, "clip class"], motion: Float[Tensor, "clip class"]
    ) -> Float[Tensor, "clip class"]:
        """The model's logits, from the logits of the two streams."""
        raise NotImplementedError

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip by stream, and combined."""
        appearance = self.appearance(features["appearance"])
        motion = self.motion(features["motion"])
        return Scores(self.combine(appearance, motion), appearance, motion)


def average_probabilities(
    first: Float[Tensor, "clip class"], second: Float[Tensor, "clip class"]
) -> Float[Tensor, "clip class"]:
    """Average two streams' class probabilities, without leaving the logarithm.

    Args:
        first: Logits of one stream.
        second: Logits of the other.

    Returns:
        Logarithm of the mean of the two softmaxes; finite where either stream's logits are.
    """
    both = torch.stack([log_softmax(first, dim=1), log_softmax(second, dim=1)])
    return torch.logsumexp(both, dim=0) - math.log(2)
