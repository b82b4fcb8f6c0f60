"""Late fusion: the surer stream decides, class by class."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import log_softmax

from asd_experiments.models.fusion.late_fusion import LateFusion


class LateMax(LateFusion):
    """A linear classifier per stream; of each class the larger probability is taken.

    What is taken is scaled to a sum of 1. With two classes the decision (not the probability) is
    that of `late_average`: the larger p and the larger 1 - p exceed each other exactly as the mean
    exceeds 1/2. A class's gradient goes to the stream that gave its probability.

    References:
        Kittler et al. 1998, section 3.2 (max rule), https://doi.org/10.1109/34.667881.
    """

    def combine(
        self, appearance: Float[Tensor, "clip class"], motion: Float[Tensor, "clip class"]
    ) -> Float[Tensor, "clip class"]:
        """Logarithm of the larger probabilities; their softmax is scaled to a sum of 1."""
        return torch.maximum(log_softmax(appearance, dim=1), log_softmax(motion, dim=1))
