"""Map fusion: motion flows into the appearance network after every stage but the last."""

from collections.abc import Mapping

from torch import nn

from asd_experiments.models.backbones.backbone import NUM_STAGES
from asd_experiments.models.fusion.concat_fusion import ConcatFusion, num_concatenated
from asd_experiments.models.fusion.fusion import (
    Maps,
    NetworkShape,
    check_same_grid,
    linear_classifier,
)

KERNEL = (5, 1, 1)
"""Time, height and width of a lateral connection: SlowFast's."""


class Lateral(ConcatFusion):
    """Lateral connections from motion to appearance; one linear classifier on both features.

    Each connection is a convolution over time, added to the appearance maps. It starts at zero, so
    training starts with two networks that do not know each other. The networks' later layers make
    it more than a sum. SlowFast's head: the features of both, concatenated. Neither stream has
    scores of its own: what it says is the answer when the other is blank.

    A network that looks at one frame at a time is refused: the connections look at five.

    Shapes: after stages 1 to 4, maps `[clip, m, time, height, width]` are convolved to
    `[clip, a, time, height, width]` and added.

    References:
        Feichtenhofer et al. 2019, section 3.3 (lateral connections by time convolution),
        https://arxiv.org/abs/1812.03982.
        Feichtenhofer et al. 2016, section 3.2 (motion added to the appearance stream's maps),
        https://arxiv.org/abs/1611.02155.
    """

    mixed_stages = tuple(range(NUM_STAGES - 1))

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`.

        Raises:
            ValueError: If a network looks at one frame at a time, or maps differ in time, height
                or width.
        """
        for network in networks.values():
            if network.per_frame:
                raise ValueError(
                    f"lateral connects frames over time, but {network.name} looks at one frame "
                    "at a time; choose a 3D network for both streams, or another fusion"
                )
        check_same_grid("lateral", networks, self.mixed_stages)
        self.connections = nn.ModuleDict()
        for stage in self.mixed_stages:
            appearance, motion = (networks[s].maps[stage].channels for s in self.streams)
            connection = nn.Conv3d(
                motion, appearance, KERNEL, padding=(KERNEL[0] // 2, 0, 0), bias=False
            )
            nn.init.zeros_(connection.weight)
            self.connections[str(stage)] = connection
        self.classifier = linear_classifier(num_concatenated(networks), num_classes)

    def mix(self, stage: int, maps: Mapping[str, Maps]) -> dict[str, Maps]:
        """Add to the appearance maps what the connection makes of the motion maps."""
        lateral = self.connections[str(stage)](maps["motion"])
        return {"appearance": maps["appearance"] + lateral, "motion": maps["motion"]}
