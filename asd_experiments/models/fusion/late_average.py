"""Late fusion: the average of what the two streams say."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import log_softmax

from asd_experiments.models.fusion.fusion import Fusion, NetworkShape, Scores, linear_classifier


class LateAverage(Fusion):
    """A linear classifier per stream; their class probabilities are averaged.

    The streams are trained together, through the average: the more probable a stream finds the
    true class, compared with the other stream, the more of the gradient is its own.

    References:
        Simonyan and Zisserman 2014, section 2 (averaging of softmax scores; there the streams
        are trained apart), https://arxiv.org/abs/1406.2199.
    """

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        self.appearance = linear_classifier(networks["appearance"].num_features, num_classes)
        self.motion = linear_classifier(networks["motion"].num_features, num_classes)

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip; `fused` is the logarithm of the averaged probabilities."""
        appearance = self.appearance(features["appearance"])
        motion = self.motion(features["motion"])
        return Scores(average_probabilities(appearance, motion), appearance, motion)


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
