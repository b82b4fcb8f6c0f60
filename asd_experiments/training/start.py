"""How a trial's networks start: fresh or pretrained, and with which parts frozen."""

from collections.abc import Mapping

from asd_experiments.config import TrialConfig
from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.freezing import freeze
from asd_experiments.models.pretrained import FittedWeights, load_pretrained
from asd_experiments.models.two_stream import TwoStream, build_two_stream
from asd_experiments.normalisation import KINETICS, Normalisation


def normalisation_of(config: TrialConfig) -> Normalisation:
    """How RGB is scaled: as the pretrained weights need it, in one way for all networks.

    It is that of `backbone` and `pretrained`, as the motion stream's own network sees no RGB.
    """
    return BACKBONES[config.backbone].published.normalisation if config.pretrained else KINETICS


def start_network(
    config: TrialConfig, *, num_classes: int, pretrained: Mapping[str, FittedWeights]
) -> TwoStream:
    """Build the network of one fold as it is before its training.

    Args:
        config: Configuration of the trial.
        num_classes: Classes to tell apart.
        pretrained: What `check_trial` gives.
    """
    network = build_two_stream(**config.network, num_classes=num_classes)
    network.gradient_checkpointing = config.gradient_checkpointing
    load_pretrained(network, pretrained)
    freeze(network, config.freeze, clip_length=config.clip_length, size=config.size)
    return network
