"""The two-stream model: a backbone per stream, then a fusion."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones import build_backbone
from asd_experiments.models.backbones.backbone import NUM_STAGES, Backbone, Stage
from asd_experiments.models.checkpointing import recomputed
from asd_experiments.models.fusion import (
    Fusion,
    MapShape,
    NetworkShape,
    Scores,
    StreamName,
    build_fusion,
    find_fusion,
)

STREAM_CHANNELS: dict[StreamName, int] = {"appearance": 3, "motion": 2}
"""RGB, and the x and y of optical flow."""


class TwoStream(nn.Module):
    """Classifies a clip from its pictures (appearance) and its optical flow (motion).

    Args:
        backbones: One backbone for each of the fusion's networks; they share no weights.
        fusion: Joins the backbones' maps and features into scores.

    Raises:
        ValueError: If the backbones are not those that the fusion needs.

    References:
        Simonyan and Zisserman 2014, https://arxiv.org/abs/1406.2199.
    """

    def __init__(self, backbones: Mapping[str, Backbone], fusion: Fusion) -> None:
        super().__init__()
        if set(backbones) != set(fusion.inputs):
            raise ValueError(
                f"the fusion needs backbones for {', '.join(fusion.inputs)}; "
                f"got: {', '.join(backbones)}"
            )
        self.backbones = nn.ModuleDict({key: backbones[key] for key in fusion.inputs})
        self.fusion = fusion
        self.gradient_checkpointing = False
        """Whether training computes what is inside the stages a second time, to save memory."""

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
        backbones = cast(dict[str, Backbone], dict(self.backbones.items()))
        states = {
            key: backbone.start(_joined([clips[name] for name in self.fusion.inputs[key]]))
            for key, backbone in backbones.items()
        }
        stages = {key: backbone.stages for key, backbone in backbones.items()}
        for number in range(NUM_STAGES):
            states = {
                key: self._run(stages[key][number], backbones[key], state)
                for key, state in states.items()
            }
            if number in self.fusion.mixed_stages:
                maps = {key: backbones[key].read(state) for key, state in states.items()}
                mixed = self.fusion.mix(number, maps)
                states = {key: backbones[key].write(states[key], mixed[key]) for key in states}
        scores: Scores = self.fusion(
            {key: backbone.features(states[key]) for key, backbone in backbones.items()}
        )
        return scores

    def _run(self, stage: Stage, backbone: Backbone, state: Any) -> Any:
        if not (self.gradient_checkpointing and torch.is_grad_enabled() and self.training):
            return stage(state)
        return recomputed(stage, backbone, state)

    def scores_by_stream(
        self,
        appearance: Float[Tensor, "clip 3 time height width"],
        motion: Float[Tensor, "clip 2 time height width"],
    ) -> Scores:
        """Score every clip, and say what each stream says by itself, whatever the fusion.

        Where the fusion has no scores of a stream's own, they are the model's answer when the
        other stream is blank: all zeros, the mean of a normalised clip. That takes another pass
        per stream, so it is for predictions, not for training.

        Args:
            appearance: Normalised RGB frames.
            motion: Normalised optical flow; channel 0 is x, channel 1 is y.
        """
        scores: Scores = self(appearance, motion)
        if scores.appearance is None and "appearance" in self.streams:
            scores = scores._replace(appearance=self(appearance, torch.zeros_like(motion)).fused)
        if scores.motion is None and "motion" in self.streams:
            scores = scores._replace(motion=self(torch.zeros_like(appearance), motion).fused)
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
    motion_backbone: str | None = None,
) -> TwoStream:
    """Build a two-stream model by the names of its parts, with fresh weights.

    Args:
        backbone: A key of `BACKBONES`; every network that sees the appearance stream is one.
        fusion: A key of `FUSIONS`.
        num_classes: Classes to tell apart, at least 2.
        clip_length: Frames per clip.
        size: Height and width of the clip, pixels.
        width: Multiplier of every layer's channels; 1 is the published network.
        dropout: Probability of dropping a feature in training, 0 to 1.
        motion_backbone: A key of `BACKBONES` for the network that sees the motion stream alone.
            None: `backbone`. Refused if it differs where one network sees both streams.

    Raises:
        ValueError: If a name is unknown, there are fewer than two classes, the clip is too short
            or too small for a network, or the fusion cannot join such networks.
    """
    inputs = find_fusion(fusion).inputs
    if motion_backbone not in (None, backbone) and ("motion",) not in inputs.values():
        raise ValueError(
            f"{fusion} has no network for the motion stream alone, so motion_backbone must be left "
            f"open or be {backbone}, got {motion_backbone!r}"
        )
    backbones, shapes = {}, {}
    for key, streams in inputs.items():
        name = motion_backbone if motion_backbone and streams == ("motion",) else backbone
        in_channels = sum(STREAM_CHANNELS[stream] for stream in streams)
        make = partial(
            build_backbone,
            name,
            in_channels=in_channels,
            clip_length=clip_length,
            size=size,
            width=width,
            dropout=dropout,
        )
        shapes[key] = _shape_of(name, make, (in_channels, clip_length, size, size))
        backbones[key] = make()
    return TwoStream(backbones, build_fusion(fusion, networks=shapes, num_classes=num_classes))


def _joined(clips: list[Tensor]) -> Tensor:
    return clips[0] if len(clips) == 1 else torch.cat(clips, dim=1)


def _shape_of(
    name: str, make: Callable[[], Backbone], clip: tuple[int, int, int, int]
) -> NetworkShape:
    """Send a clip without content through a network without weights."""
    maps = []
    with torch.device("meta"), torch.no_grad():
        backbone = make().eval()
        state = backbone.start(torch.empty(1, *clip))
        for stage in backbone.stages:
            state = stage(state)
            maps.append(MapShape(*backbone.read(state).shape[1:]))
    return NetworkShape(name, backbone.num_features, tuple(maps), backbone.per_frame)
