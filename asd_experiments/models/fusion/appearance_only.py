"""No fusion: the appearance stream (RGB) alone, as a control."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from asd_experiments.models.fusion.fusion import Fusion, Scores, StreamName, linear_classifier


class AppearanceOnly(Fusion):
    """A linear classifier on the appearance features; the fused scores are the stream's own."""

    streams = ("appearance",)

    def __init__(self, *, num_features: Mapping[StreamName, int], num_classes: int) -> None:
        super().__init__(num_features=num_features, num_classes=num_classes)
        self.classifier = linear_classifier(num_features["appearance"], num_classes)

    def forward(self, features: Mapping[StreamName, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip from its appearance features."""
        scores = self.classifier(features["appearance"])
        return Scores(fused=scores, appearance=scores, motion=None)
