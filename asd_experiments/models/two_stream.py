"""The two-stream model: a backbone per stream, then a fusion."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones import build_backbone
from asd_experiments.models.backbones.backbone import Backbone
from asd_experiments.models.fusion import Fusion, Scores, StreamName, build_fusion, find_fusion

STREAM_CHANNELS: dict[StreamName, int] = {"appearance": 3, "motion": 2}
"""RGB, and the x and y of optical flow."""


class TwoStream(nn.Module):
    """Classifies a clip from its pictures (appearance) and its optical flow (motion).

    Args:
        backbones: One backbone for each of the fusion's streams; they share no weights.
        fusion: Joins the backbones' features into scores.

    Raises:
        ValueError: If the backbones are not those of the fusion's streams.

    References:
        Simonyan and Zisserman 2014, https://arxiv.org/abs/1406.2199.
    """

    def __init__(self, backbones: Mapping[StreamName, Backbone], fusion: Fusion) -> None:
        super().__init__()
        if set(backbones) != set(fusion.streams):
            raise ValueError(
                f"the fusion needs backbones for {', '.join(fusion.streams)}; "
                f"got: {', '.join(backbones)}"
            )
        self.backbones = nn.ModuleDict({stream: backbones[stream] for stream in fusion.streams})
        self.fusion = fusion

    @property
    def streams(self) -> tuple[StreamName, ...]:
        """Streams that are evaluated; the clip of any other is ignored."""
        return self.fusion.streams

    def forward(
        self,
        appearance: Float[Tensor, "clip 3 time height width"],
        motion: Float[Tensor, "clip 2 time height width"],
    ) -> Scores:
        """Score every clip.

        Args:
            appearance: Normalised RGB frames.
            motion: Normalised optical flow; channel 0 is x, channel 1 is y.
        """
        clips: dict[StreamName, Tensor] = {"appearance": appearance, "motion": motion}
        features = {stream: self.backbones[stream](clips[stream]) for stream in self.streams}
        scores: Scores = self.fusion(features)
        return scores


def build_two_stream(
    *,
    backbone: str,
    fusion: str,
    num_classes: int,
    clip_length: int,
    size: int,
    width: float,
    dropout: float,
) -> TwoStream:
    """Build a two-stream model by the names of its parts, with fresh weights.

    Args:
        backbone: A key of `BACKBONES`; both streams have this network.
        fusion: A key of `FUSIONS`.
        num_classes: Classes to tell apart, at least 2.
        clip_length: Frames per clip.
        size: Height and width of the clip, pixels.
        width: Multiplier of every layer's channels; 1 is the published network.
        dropout: Probability of dropping a feature in training, 0 to 1.

    Raises:
        ValueError: If a name is unknown, there are fewer than two classes, or the clip is too
            short or too small for the network.
    """
    backbones = {
        stream: build_backbone(
            backbone,
            in_channels=STREAM_CHANNELS[stream],
            clip_length=clip_length,
            size=size,
            width=width,
            dropout=dropout,
        )
        for stream in find_fusion(fusion).streams
    }
    num_features = {stream: network.num_features for stream, network in backbones.items()}
    return TwoStream(
        backbones, build_fusion(fusion, num_features=num_features, num_classes=num_classes)
    )
