"""Fusions: ways to join the streams' features into scores of the classes, one file each."""

from collections.abc import Mapping

from asd_experiments.config import FusionName
from asd_experiments.models.fusion.appearance_only import AppearanceOnly
from asd_experiments.models.fusion.feature_concat import FeatureConcat
from asd_experiments.models.fusion.fusion import Fusion, Scores, StreamName
from asd_experiments.models.fusion.late_average import LateAverage
from asd_experiments.models.fusion.motion_only import MotionOnly

__all__ = ["FUSIONS", "Fusion", "Scores", "StreamName", "build_fusion", "find_fusion"]

FUSIONS: dict[FusionName, type[Fusion]] = {
    "appearance_only": AppearanceOnly,
    "motion_only": MotionOnly,
    "late_average": LateAverage,
    "feature_concat": FeatureConcat,
}


def find_fusion(name: str) -> type[Fusion]:
    """Look a fusion up by its name, for instance to learn which streams it needs.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in FUSIONS:
        raise ValueError(f"unknown fusion {name!r}; choose one of: {', '.join(FUSIONS)}")
    return FUSIONS[name]


def build_fusion(name: str, *, num_features: Mapping[StreamName, int], num_classes: int) -> Fusion:
    """Build a fusion by its name, with fresh weights.

    Args:
        name: A key of `FUSIONS`.
        num_features: Length of each stream's feature vector.
        num_classes: Classes to tell apart, at least 2.

    Raises:
        ValueError: If the name is unknown or there are fewer than two classes.
    """
    return find_fusion(name)(num_features=num_features, num_classes=num_classes)
