"""Shapes of backbones that do not exist, for fusions."""

from asd_experiments.models.fusion import NetworkShape


def shapes(**num_features: int) -> dict[str, NetworkShape]:
    """Networks without maps, by key, with as many features."""
    return {
        key: NetworkShape("none", number, maps=(), per_frame=False)
        for key, number in num_features.items()
    }
