"""Fusions: ways to join the streams' features into scores of the classes, one file each."""

from collections.abc import Mapping

from asd_experiments.config import FusionName
from asd_experiments.models.fusion.appearance_only import AppearanceOnly
from asd_experiments.models.fusion.feature_concat import FeatureConcat
from asd_experiments.models.fusion.fusion import Fusion, MapShape, NetworkShape, Scores, StreamName
from asd_experiments.models.fusion.late_average import LateAverage
from asd_experiments.models.fusion.motion_only import MotionOnly

__all__ = [
    "FUSIONS",
    "Fusion",
    "MapShape",
    "NetworkShape",
    "Scores",
    "StreamName",
    "build_fusion",
    "find_fusion",
]

FUSIONS: dict[FusionName, type[Fusion]] = {
    "appearance_only": AppearanceOnly,
    "motion_only": MotionOnly,
    "late_average": LateAverage,
    "feature_concat": FeatureConcat,
}


def find_fusion(name: str) -> type[Fusion]:
    """Look a fusion up by its name, for instance to learn which networks it needs.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in FUSIONS:
        raise ValueError(f"unknown fusion {name!r}; choose one of: {', '.join(FUSIONS)}")
    return FUSIONS[name]


def build_fusion(name: str, *, networks: Mapping[str, NetworkShape], num_classes: int) -> Fusion:
    """Build a fusion by its name, with fresh weights.

    Args:
        name: A key of `FUSIONS`.
        networks: Shape of each backbone, by its key in `Fusion.inputs`.
        num_classes: Classes to tell apart, at least 2.

    Raises:
        ValueError: If the name is unknown, there are fewer than two classes, or the backbones
            cannot be joined in this way.
    """
    return find_fusion(name)(networks=networks, num_classes=num_classes)
