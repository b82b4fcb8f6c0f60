"""Feature fusion: the sum of the streams' features, then a hidden layer."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from asd_experiments.models.fusion.fusion import Fusion, NetworkShape, Scores, hidden_classifier


class FeatureSum(Fusion):
    """The features are added, then a hidden layer (ReLU) and a linear classifier.

    The head is that of `feature_concat`, so the two differ in the operator alone; with a linear
    head the sum would be `late_joint` with the same weights for both streams. Neither stream has
    scores of its own: what it says is the answer when the other is blank.

    Shapes: features `[clip, feature]`, equally long in both streams; hidden `[clip, NUM_HIDDEN]`.

    References:
        Feichtenhofer et al. 2016, section 3.1 (sum fusion; there of maps, with fully connected
        layers behind), https://arxiv.org/abs/1604.06573.
    """

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`.

        Raises:
            ValueError: If the features differ in length.
        """
        appearance, motion = networks["appearance"], networks["motion"]
        if appearance.num_features != motion.num_features:
            raise ValueError(
                "feature_sum adds the streams' features, which must be equally long; "
                f"{appearance.name} has {appearance.num_features} (appearance) and {motion.name} "
                f"{motion.num_features} (motion); give both streams the same backbone, or choose "
                "feature_concat, feature_bilinear or gated"
            )
        self.classifier = hidden_classifier(appearance.num_features, num_classes)

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip from the sum of its feature vectors."""
        summed = features["appearance"] + features["motion"]
        return Scores(self.classifier(summed), appearance=None, motion=None)
