import pytest
import torch

from asd_experiments.models.fusion.feature_sum import FeatureSum
from asd_experiments.models.fusion.fusion import NUM_HIDDEN
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes


def test_two_hidden_units_by_hand():
    fusion = FeatureSum(networks=shapes(appearance=2, motion=2), num_classes=2)
    hidden, _, last = fusion.classifier
    idle = NUM_HIDDEN - 2
    set_weights(hidden, [[1.0, 2.0], [-1.0, 0.0]] + [[0.0] * 2] * idle)
    set_weights(last, [[1.0, 7.0] + [0.0] * idle, [-1.0, 0.0] + [0.0] * idle])
    scores = fusion(
        {"appearance": torch.tensor([[10.0, 20.0]]), "motion": torch.tensor([[1.0, -5.0]])}
    )
    # Sums 11 and 15; units 11 + 30 = 41, and -11 which the ReLU makes 0
    torch.testing.assert_close(scores.fused, torch.tensor([[41.0, -41.0]]))


def test_features_of_two_lengths_are_refused():
    with pytest.raises(
        ValueError, match=r"imaginary has 4 \(appearance\) and imaginary 3 \(motion\).*choose"
    ):
        FeatureSum(networks=shapes(appearance=4, motion=3), num_classes=2)
