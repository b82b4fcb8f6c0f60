"""Confidence intervals."""

from typing import NamedTuple


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def check_level(level: float) -> None:
    """Refuse what is no confidence level.

    Raises:
        ValueError: If it is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
