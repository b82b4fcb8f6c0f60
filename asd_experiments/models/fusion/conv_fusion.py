"""Map fusion: the last maps of both streams, convolved into the appearance network."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from asd_experiments.models.backbones.backbone import NUM_STAGES
from asd_experiments.models.fusion.fusion import (
    Fusion,
    Maps,
    NetworkShape,
    Scores,
    check_same_grid,
    linear_classifier,
)


class ConvFusion(Fusion):
    """The last maps are concatenated, convolved (1x1x1) and go on in the appearance network.

    The ReLU behind the convolution stands for the fully connected layers that follow in the paper's
    VGG: in a network that ends in an average, the streams would otherwise only be added. The
    convolution starts as the sum of equally numbered channels, so that what a network has learned
    before is kept, plus He's random start: of a bare sum of maps that are never negative the ReLU
    takes nothing, and the streams would only be added. A 3x3x3 kernel, the paper's for its
    spatiotemporal network, would hold 226 million weights in a ResNet-50 (27 x 4096 x 2048).

    As in the paper, the motion network is kept whole beside the joint one and both have a loss. The
    answer is the joint network's, so that the fusion is what is measured; the paper averages in
    the motion network's a second time. So the motion stream has scores of its own, and what the
    appearance stream says is the answer when motion is blank.

    Shapes: maps `[clip, a, time, height, width]` and `[clip, m, time, height, width]`, to
    `[clip, a, time, height, width]`.

    References:
        Feichtenhofer et al. 2016, section 3 (conv fusion, section 3.1; the architecture with two
        losses, at its end), https://arxiv.org/abs/1604.06573.
    """

    mixed_stages = (NUM_STAGES - 1,)

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`.

        Raises:
            ValueError: If the last maps of the two networks differ in time, height or width.
        """
        check_same_grid("conv_fusion", networks, self.mixed_stages)
        appearance, motion = (networks[stream].maps[-1].channels for stream in self.streams)
        self.conv = nn.Conv3d(appearance + motion, appearance, kernel_size=1)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        with torch.no_grad():
            sums = torch.cat([torch.eye(appearance), torch.eye(appearance, motion)], dim=1)
            self.conv.weight += sums[:, :, None, None, None]
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        self.joint = linear_classifier(networks["appearance"].num_features, num_classes)
        self.motion = linear_classifier(networks["motion"].num_features, num_classes)

    def mix(self, stage: int, maps: Mapping[str, Maps]) -> dict[str, Maps]:
        """Convolve both streams' maps into the appearance network."""
        both = torch.cat([maps["appearance"], maps["motion"]], dim=1)
        return {"appearance": relu(self.conv(both)), "motion": maps["motion"]}

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip by the joint network, and by the motion network alone."""
        joint = self.joint(features["appearance"])
        return Scores(joint, appearance=None, motion=self.motion(features["motion"]))

    def trained(self, scores: Scores) -> tuple[Float[Tensor, "clip class"], ...]:
        """The joint scores and the motion network's own."""
        return (scores.fused,) if scores.motion is None else (scores.fused, scores.motion)
