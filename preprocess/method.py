"""What the tables of person finders, segmenters and flow methods hold.

A table names the place of a method, and the method is imported when it is asked for: nobody waits
for PyTorch, or needs detectron2, who does not use it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from asd_experiments.errors import InputError

Built_co = TypeVar("Built_co", covariant=True)


class MethodError(InputError):
    """A method or its weights cannot be had; the message names the remedy."""


class WeightsSource(NamedTuple):
    """Where a user says that a method's weights come from."""

    file: Path | None = None
    """File of weights; None: where the method's own are kept."""

    config: str | None = None
    """File or name that describes the network, for methods that need one."""


@dataclass(frozen=True)
class Method(Generic[Built_co]):
    """One method: how it is made, and what it stands on."""

    build: Callable[[bytes | None], Built_co]
    """Make it from its weights as `load_weights` gives them."""

    load_weights: Callable[[WeightsSource], bytes | None]
    """Weights in one piece, fit to be kept in a store; None for a method without weights.

    Raises `MethodError` if a library or the weights cannot be had.
    """

    libraries: tuple[str, ...]
    """Distributions whose version changes the result."""

    on_gpu: bool = False
    """Whether it computes on a GPU where there is one."""


def without_weights(
    option: str, make: Callable[[], Built_co], *, libraries: tuple[str, ...]
) -> Method[Built_co]:
    """A method that has no weights, and refuses those that are given to it.

    Args:
        option: The option that chooses the method, such as `flow=dis`.
        make: Make it.
        libraries: See `Method`.
    """

    def build(weights: bytes | None) -> Built_co:
        if weights is not None:
            raise MethodError(f"{option} has no weights, but the store carries some")
        return make()

    def refuse(source: WeightsSource) -> None:
        _refuse_given(source.file, "weights", option)
        refuse_config(source, option)

    return Method(build, refuse, libraries)


def refuse_config(source: WeightsSource, option: str) -> None:
    """Refuse a configuration that was given to a method without one.

    Args:
        source: What the user gave.
        option: The option that chose the method, such as `flow=raft_small`.

    Raises:
        MethodError: If there is a configuration.
    """
    _refuse_given(source.config, "config", option)


def _refuse_given(given: object, what: str, option: str) -> None:
    if given is not None:
        role = option.split("=")[0]
        raise MethodError(f"{option} has no {what}; leave {role}_{what} out")
