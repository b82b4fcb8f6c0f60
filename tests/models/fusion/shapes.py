"""Shapes of backbones that do not exist, for fusions."""

from asd_experiments.models.backbones.backbone import NUM_STAGES
from asd_experiments.models.fusion import MapShape, NetworkShape


def shapes(
    *,
    channels: int = 3,
    grid: tuple[int, int, int] = (2, 2, 2),
    per_frame: bool = False,
    **num_features: int,
) -> dict[str, NetworkShape]:
    """Networks by key, with as many features and the same maps after every stage."""
    return {
        key: NetworkShape(
            "imaginary", number, maps=(MapShape(channels, *grid),) * NUM_STAGES, per_frame=per_frame
        )
        for key, number in num_features.items()
    }
