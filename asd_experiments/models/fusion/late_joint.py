"""Late fusion: the sum of the streams' logits, with one loss."""

from jaxtyping import Float
from torch import Tensor

from asd_experiments.models.fusion.late_fusion import LateFusion


class LateJoint(LateFusion):
    """A linear classifier per stream; their logits are added, and the sum is trained.

    It is the same function as one linear layer on the concatenated features. Each stream's scores
    are its part of the sum: what it adds to the answer, not what it would say alone. The published
    gait study calls it `sum_loss`.

    References:
        Carreira and Zisserman 2017, section 2.4 and the released model (the streams' logits are
        added; there they are trained apart), https://arxiv.org/abs/1705.07750.
    """

    def combine(
        self, appearance: Float[Tensor, "clip class"], motion: Float[Tensor, "clip class"]
    ) -> Float[Tensor, "clip class"]:
        """The sum."""
        return appearance + motion
