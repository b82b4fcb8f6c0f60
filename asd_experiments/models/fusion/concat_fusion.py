"""What fusions do that end on the features of both streams, one vector after the other."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.fusion.fusion import Fusion, NetworkShape, Scores


class ConcatFusion(Fusion):
    """A classifier on the concatenated features.

    Neither stream has scores of its own: what it says is the answer when the other is blank.
    """

    classifier: nn.Module
    """Made by the subclass, for `num_concatenated` features."""

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip from both feature vectors."""
        both = torch.cat([features["appearance"], features["motion"]], dim=1)
        return Scores(self.classifier(both), appearance=None, motion=None)


def num_concatenated(networks: Mapping[str, NetworkShape]) -> int:
    """Length of both streams' feature vectors together."""
    return networks["appearance"].num_features + networks["motion"].num_features
