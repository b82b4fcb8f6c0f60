"""Feature fusion: every appearance feature times every motion feature."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from asd_experiments.models.fusion.fusion import Fusion, NetworkShape, Scores, linear_classifier

NUM_FACTORS = 16
"""Length of each projected vector: 17 x 17 = 289 products, few enough for a small cohort."""


class FeatureBilinear(Fusion):
    """A linear classifier on the outer product of both projected features, each with a 1 behind.

    The 1 keeps the projected vectors themselves among the products, so the classifier contains
    `late_joint` on the projections and adds what only both streams together tell. The projections
    end in tanh: products of bounded factors are bounded, which is what the signed square root of
    bilinear pooling is for, without its infinite gradient at zero. Neither stream has scores of its
    own: what it says is the answer when the other is blank.

    Shapes: features `[clip, a]` and `[clip, m]`, factors `[clip, NUM_FACTORS + 1]`, products
    `[clip, (NUM_FACTORS + 1) ** 2]`.

    References:
        Zadeh et al. 2017, section 3.2 (outer product with a constant 1),
        https://arxiv.org/abs/1707.07250.
        Feichtenhofer et al. 2016, section 3.1 (bilinear fusion), https://arxiv.org/abs/1604.06573.
        Kim et al. 2017, section 3 (tanh after the projections), https://arxiv.org/abs/1610.04325.
    """

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        self.appearance = nn.Linear(networks["appearance"].num_features, NUM_FACTORS)
        self.motion = nn.Linear(networks["motion"].num_features, NUM_FACTORS)
        self.classifier = linear_classifier((NUM_FACTORS + 1) ** 2, num_classes)

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip from the products of its features."""
        appearance = _with_one(torch.tanh(self.appearance(features["appearance"])))
        motion = _with_one(torch.tanh(self.motion(features["motion"])))
        products = appearance[:, :, None] * motion[:, None, :]
        return Scores(self.classifier(products.flatten(1)), appearance=None, motion=None)


def _with_one(factors: Float[Tensor, "clip factor"]) -> Float[Tensor, "clip factor_and_one"]:
    return pad(factors, (0, 1), value=1.0)
