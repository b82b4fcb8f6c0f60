"""No fusion: the motion stream (optical flow) alone, as a control."""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from asd_experiments.models.fusion.fusion import (
    Fusion,
    NetworkShape,
    Scores,
    StreamName,
    linear_classifier,
)


class MotionOnly(Fusion):
    """A linear classifier on the motion features; the fused scores are the stream's own."""

    inputs: ClassVar[Mapping[str, tuple[StreamName, ...]]] = {"motion": ("motion",)}

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        self.classifier = linear_classifier(networks["motion"].num_features, num_classes)

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip from its motion features."""
        scores = self.classifier(features["motion"])
        return Scores(fused=scores, appearance=None, motion=scores)
