"""Late fusion: the average of what the two streams say."""

from jaxtyping import Float
from torch import Tensor

from asd_experiments.models.fusion.late_fusion import LateFusion, average_probabilities


class LateAverage(LateFusion):
    """A linear classifier per stream; their class probabilities are averaged.

    The streams are trained together, through the average: the more probable a stream finds the
    true class, compared with the other stream, the more of the gradient is its own.

    References:
        Simonyan and Zisserman 2014, section 2 (averaging of softmax scores; there the streams
        are trained apart, see `late_separate`), https://arxiv.org/abs/1406.2199.
    """

    def combine(
        self, appearance: Float[Tensor, "clip class"], motion: Float[Tensor, "clip class"]
    ) -> Float[Tensor, "clip class"]:
        """Logarithm of the averaged probabilities."""
        return average_probabilities(appearance, motion)
