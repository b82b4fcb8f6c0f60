"""How a trial's networks start: fresh or pretrained, and with which parts frozen."""

from collections.abc import Mapping

import torch

from asd_experiments.config import TrialConfig
from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.freezing import freeze
from asd_experiments.models.pretrained import FittedWeights, fit_pretrained, load_pretrained
from asd_experiments.models.two_stream import TwoStream, build_two_stream
from asd_experiments.normalisation import KINETICS, Normalisation


def normalisation_of(config: TrialConfig) -> Normalisation:
    """How RGB is scaled: as the pretrained weights need it, in one way for all networks.

    It is that of `backbone`, as a `motion_backbone` of its own sees no RGB.
    """
    return BACKBONES[config.backbone].published.normalisation if config.pretrained else KINETICS


def read_pretrained(config: TrialConfig) -> dict[str, FittedWeights]:
    """Find the weights that a trial starts from and fit them to its networks.

    Returns:
        By the backbone's key in the model; empty where all weights are fresh.

    Raises:
        InputError: If they cannot be had or do not fit.
        ValueError: If there is no such network.
    """
    if config.pretrained is None:
        return {}
    with torch.device("meta"):
        network = build_two_stream(**config.network, num_classes=2)
    return fit_pretrained(config.pretrained, network)


def start_network(
    config: TrialConfig, *, num_classes: int, pretrained: Mapping[str, FittedWeights]
) -> TwoStream:
    """Build the network of one fold as it is before its training.

    Args:
        config: Configuration of the trial.
        num_classes: Classes to tell apart.
        pretrained: What `read_pretrained` gives.
    """
    network = build_two_stream(**config.network, num_classes=num_classes)
    network.gradient_checkpointing = config.gradient_checkpointing
    load_pretrained(network, pretrained)
    freeze(network, config.freeze, clip_length=config.clip_length, size=config.size)
    return network
