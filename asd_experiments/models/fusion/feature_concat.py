"""Feature fusion: a hidden layer on the features of both streams, one after the other."""

from collections.abc import Mapping

from asd_experiments.models.fusion.concat_fusion import ConcatFusion, num_concatenated
from asd_experiments.models.fusion.fusion import NetworkShape, hidden_classifier


class FeatureConcat(ConcatFusion):
    """A hidden layer (ReLU) on the concatenated features, then a linear classifier.

    Without the hidden layer the logits would be a sum of one part per stream, which is what
    `late_joint` is already; concatenation joins the streams only if something nonlinear follows.
    Neither stream has scores of its own: what it says is the answer when the other is blank.

    Shapes: features `[clip, a]` and `[clip, m]`, hidden `[clip, NUM_HIDDEN]`.

    References:
        Feichtenhofer et al. 2016, section 3.1 (concatenation leaves the correspondence to the
        following layers), https://arxiv.org/abs/1604.06573.
        Baltrusaitis et al. 2019, section 3.1 (joint hidden layer),
        https://arxiv.org/abs/1705.09406.
    """

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        self.classifier = hidden_classifier(num_concatenated(networks), num_classes)
