"""What every fusion is: from the streams' features to scores of the classes."""

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

StreamName = Literal["appearance", "motion"]


class Scores(NamedTuple):
    """Scores of the classes, all of them logits: `softmax` makes them class probabilities."""

    fused: Float[Tensor, "clip class"]
    """The model's answer, which the loss and the metrics take."""

    appearance: Float[Tensor, "clip class"] | None
    """What the appearance stream says by itself; None when the model has no such stream."""

    motion: Float[Tensor, "clip class"] | None
    """What the motion stream says by itself; None when the model has no such stream."""


class Fusion(nn.Module):
    """Joins the features of the streams and classifies; one file per way beside this one.

    A stream's own scores are always computed from parameters that the loss on the fused scores
    trains.

    Args:
        num_features: Length of each stream's feature vector; streams not in `streams` are ignored.
        num_classes: Classes to tell apart, at least 2.

    Raises:
        ValueError: If there are fewer than two classes.
    """

    streams: ClassVar[tuple[StreamName, ...]]
    """Streams that are evaluated; a model builds no backbone for any other."""

    def __init__(self, *, num_features: Mapping[StreamName, int], num_classes: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")

    def forward(self, features: Mapping[StreamName, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip from the features of each of `streams`."""
        raise NotImplementedError


def linear_classifier(num_features: int, num_classes: int) -> nn.Linear:
    """Build the last layer, started near zero so that all classes begin equally probable.

    References:
        Standard deviation 0.01: the classifiers of torchvision's and pytorchvideo's video ResNets.
    """
    classifier = nn.Linear(num_features, num_classes)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
    return classifier
