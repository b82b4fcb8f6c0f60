"""How RGB values are scaled for a network; it belongs to the network's weights."""

from pydantic.dataclasses import dataclass


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each colour, both in units of the brightest value."""

    mean: tuple[float, float, float]
    """Subtracted from red, green and blue, 0 to 1."""

    std: tuple[float, float, float]
    """What they are then divided by."""


KINETICS = Normalisation(mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
"""Of pytorchvideo's networks, and of networks that start with fresh weights here.

References:
    pytorchvideo, tutorial "Classification": the transform of its model zoo's networks.
"""
