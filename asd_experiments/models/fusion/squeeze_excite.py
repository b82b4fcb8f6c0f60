"""Map fusion: what both streams saw decides which channels of each go on."""

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
    linear_classifier,
)

REDUCTION = 4
"""The joint vector has the channels of both streams divided by this."""


class SqueezeExcite(Fusion):
    """Multimodal transfer modules after the last three stages, then the sum of both logits.

    A module averages the maps of each stream over time and space, makes one joint vector of both,
    and multiplies every channel of each stream by twice a sigmoid of it. The sigmoid's layer starts
    near zero, a factor near 1: training starts as `late_joint`. It does not start at zero, as then
    no gradient would reach the joint vector in the first step. Nothing but channel averages
    crosses, so the networks may differ in every size. Neither stream has scores of its own: what it
    says is the answer when the other is blank.

    Shapes: maps `[clip, a, ...]` and `[clip, m, ...]`, averages `[clip, a + m]`, joint
    `[clip, (a + m) / REDUCTION]`, factors `[clip, a]` and `[clip, m]`.

    References:
        Joze et al. 2020, section 3.2, https://arxiv.org/abs/1911.08670.
    """

    mixed_stages = tuple(range(NUM_STAGES - 3, NUM_STAGES))

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        self.transfers = nn.ModuleDict(
            {
                str(stage): Transfer(*(networks[s].maps[stage].channels for s in self.streams))
                for stage in self.mixed_stages
            }
        )
        self.appearance = linear_classifier(networks["appearance"].num_features, num_classes)
        self.motion = linear_classifier(networks["motion"].num_features, num_classes)

    def mix(self, stage: int, maps: Mapping[str, Maps]) -> dict[str, Maps]:
        """Scale the channels of both streams by what both saw."""
        appearance, motion = self.transfers[str(stage)](maps["appearance"], maps["motion"])
        return {"appearance": appearance, "motion": motion}

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Add the logits of both networks, each of which has seen the other."""
        fused = self.appearance(features["appearance"]) + self.motion(features["motion"])
        return Scores(fused, appearance=None, motion=None)


class Transfer(nn.Module):
    """A multimodal transfer module.

    Args:
        appearance: Channels of the appearance maps.
        motion: Channels of the motion maps.
    """

    def __init__(self, appearance: int, motion: int) -> None:
        super().__init__()
        num_joint = max(1, (appearance + motion) // REDUCTION)
        self.squeeze = nn.Linear(appearance + motion, num_joint)
        self.excite_appearance = linear_classifier(num_joint, appearance)
        self.excite_motion = linear_classifier(num_joint, motion)

    def forward(
        self,
        appearance: Float[Tensor, "clip a_channel a_time a_height a_width"],
        motion: Float[Tensor, "clip m_channel m_time m_height m_width"],
    ) -> tuple[
        Float[Tensor, "clip a_channel a_time a_height a_width"],
        Float[Tensor, "clip m_channel m_time m_height m_width"],
    ]:
        """Scale every channel of both."""
        averages = [maps.mean(dim=(2, 3, 4)) for maps in (appearance, motion)]
        joint = relu(self.squeeze(torch.cat(averages, dim=1)))
        return (
            appearance * _factor(self.excite_appearance(joint)),
            motion * _factor(self.excite_motion(joint)),
        )


def _factor(excitation: Float[Tensor, "clip channel"]) -> Float[Tensor, "clip channel 1 1 1"]:
    return 2 * torch.sigmoid(excitation)[:, :, None, None, None]
