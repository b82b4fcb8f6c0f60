"""Fusions: ways to join the streams' features into scores of the classes, one file each."""

from collections.abc import Mapping

from asd_experiments.config import FusionName
from asd_experiments.errors import unknown_choice
from asd_experiments.models.fusion.appearance_only import AppearanceOnly
from asd_experiments.models.fusion.conv_fusion import ConvFusion
from asd_experiments.models.fusion.cross_attention import CrossAttention
from asd_experiments.models.fusion.early_concat import EarlyConcat
from asd_experiments.models.fusion.feature_bilinear import FeatureBilinear
from asd_experiments.models.fusion.feature_concat import FeatureConcat
from asd_experiments.models.fusion.feature_sum import FeatureSum
from asd_experiments.models.fusion.fusion import Fusion, MapShape, NetworkShape, Scores, StreamName
from asd_experiments.models.fusion.gated import Gated
from asd_experiments.models.fusion.late_average import LateAverage
from asd_experiments.models.fusion.late_joint import LateJoint
from asd_experiments.models.fusion.late_max import LateMax
from asd_experiments.models.fusion.late_separate import LateSeparate
from asd_experiments.models.fusion.late_weighted import LateWeighted
from asd_experiments.models.fusion.lateral import Lateral
from asd_experiments.models.fusion.motion_only import MotionOnly
from asd_experiments.models.fusion.squeeze_excite import SqueezeExcite

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
    "early_concat": EarlyConcat,
    "late_average": LateAverage,
    "late_weighted": LateWeighted,
    "late_max": LateMax,
    "late_separate": LateSeparate,
    "late_joint": LateJoint,
    "feature_concat": FeatureConcat,
    "feature_sum": FeatureSum,
    "feature_bilinear": FeatureBilinear,
    "gated": Gated,
    "conv_fusion": ConvFusion,
    "squeeze_excite": SqueezeExcite,
    "lateral": Lateral,
    "cross_attention": CrossAttention,
}


def find_fusion(name: str) -> type[Fusion]:
    """Look a fusion up by its name, for instance to learn which networks it needs.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in FUSIONS:
        raise ValueError(unknown_choice("fusion", name, FUSIONS))
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
