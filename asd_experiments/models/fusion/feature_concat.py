"""Feature fusion: one linear classifier on the features of both streams."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from asd_experiments.models.fusion.fusion import Fusion, NetworkShape, Scores, linear_classifier


class FeatureConcat(Fusion):
    """A linear classifier on the appearance features followed by the motion features.

    A linear layer on concatenated features is a sum of one part per stream, so each stream's
    scores are its part of the fused logits, with half of the bias. They tell exactly what the
    stream adds to the answer; they are not what a model of that stream alone would say.
    """

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        self.sizes = [networks[stream].num_features for stream in self.streams]
        self.classifier = linear_classifier(sum(self.sizes), num_classes)

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip; `fused` is the sum of the two streams' scores."""
        appearance_weight, motion_weight = torch.split(self.classifier.weight, self.sizes, dim=1)
        half_bias = self.classifier.bias / 2
        appearance = linear(features["appearance"], appearance_weight, half_bias)
        motion = linear(features["motion"], motion_weight, half_bias)
        return Scores(appearance + motion, appearance, motion)
