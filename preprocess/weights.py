"""Configurations that a user names for a method that has none."""

from preprocess.method import MethodError, WeightsSource


def refuse_config(source: WeightsSource, option: str) -> None:
    """Refuse a configuration that was given to a method without one.

    Args:
        source: What the user gave.
        option: The option that chose the method, such as `flow=raft_small`.

    Raises:
        MethodError: If there is a configuration.
    """
    if source.config is not None:
        role = option.split("=")[0]
        raise MethodError(f"{option} has no config; leave {role}_config out")
