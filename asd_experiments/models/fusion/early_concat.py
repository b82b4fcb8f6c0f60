"""Early fusion: one network that sees the channels of both streams."""

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


class EarlyConcat(Fusion):
    """A single backbone on five channels (RGB, flow x, flow y) and a linear classifier.

    The first convolution already sums over pictures and flow, so neither stream has scores of its
    own: what a stream says is the model's answer when the other one is blank.

    Shapes: clips `[clip, 3 + 2, time, height, width]`; features `[clip, feature]` of the network
    `joint`.

    References:
        Karpathy et al. 2014, section 3.1 (early fusion: the first layer sees all pixels; there of
        several frames), https://cs.stanford.edu/people/karpathy/deepvideo/deepvideo_cvpr2014.pdf.
    """

    inputs: ClassVar[Mapping[str, tuple[StreamName, ...]]] = {"joint": ("appearance", "motion")}

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        self.classifier = linear_classifier(networks["joint"].num_features, num_classes)

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip from the features of the one network."""
        return Scores(self.classifier(features["joint"]), appearance=None, motion=None)
