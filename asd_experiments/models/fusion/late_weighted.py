"""Late fusion: a weighted average of what the two streams say; the weight is learned."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from asd_experiments.models.fusion.fusion import NetworkShape
from asd_experiments.models.fusion.late_fusion import LateFusion


class LateWeighted(LateFusion):
    """A linear classifier per stream; their class probabilities are averaged by learned weights.

    The weights are w and 1 - w; w is the sigmoid of one parameter and starts at 1/2. Trained at
    the networks' learning rate r it moves by no more than about r/4 per step, and weight decay
    draws it back to 1/2: a weight of 0.5 after a short training says little about the streams.

    References:
        Wang et al. 2016, section 4.2 (weights by hand: 1 for pictures, 1.5 for flow),
        https://arxiv.org/abs/1608.00859.
    """

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        super().build(networks, num_classes)
        self.balance = nn.Parameter(torch.zeros(()))

    def combine(
        self, appearance: Float[Tensor, "clip class"], motion: Float[Tensor, "clip class"]
    ) -> Float[Tensor, "clip class"]:
        """Logarithm of the weighted mean of the probabilities."""
        weighted_appearance = log_softmax(appearance, dim=1) + logsigmoid(self.balance)
        weighted_motion = log_softmax(motion, dim=1) + logsigmoid(-self.balance)
        return torch.logaddexp(weighted_appearance, weighted_motion)

    def figures(self) -> dict[str, float]:
        """Weight of the appearance stream; that of the motion stream is 1 minus it."""
        return {"appearance_weight": float(self.balance.detach().sigmoid())}
