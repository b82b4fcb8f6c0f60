"""Late fusion: each stream has a loss of its own, and they meet only in the answer."""

from jaxtyping import Float
from torch import Tensor

from asd_experiments.models.fusion.fusion import Scores
from asd_experiments.models.fusion.late_average import LateAverage


class LateSeparate(LateAverage):
    """A linear classifier and a loss per stream; class probabilities are averaged for the answer.

    No gradient passes from one stream to the other: they are two networks that are trained side
    by side, and one epoch is chosen for both. The published gait study calls it `different_loss`.

    References:
        Simonyan and Zisserman 2014, sections 2 and 5, https://arxiv.org/abs/1406.2199.
    """

    def trained(self, scores: Scores) -> tuple[Float[Tensor, "clip class"], ...]:
        """Both streams' own scores."""
        return tuple(own for own in (scores.appearance, scores.motion) if own is not None)
