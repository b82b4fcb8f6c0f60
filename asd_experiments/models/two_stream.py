"""The two-stream model: a backbone per stream, then a fusion."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones import build_backbone, find_backbone
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
    names = backbone_names(backbone, fusion, motion_backbone)
    backbones, shapes = {}, {}
    for key, name in names.items():
        shapes[key] = network_shape(name, clip_length=clip_length, size=size, width=width)
        backbones[key] = build_backbone(
            name,
            in_channels=sum(STREAM_CHANNELS[stream] for stream in find_fusion(fusion).inputs[key]),
            clip_length=clip_length,
            size=size,
            width=width,
            dropout=dropout,
        )
    return TwoStream(backbones, build_fusion(fusion, networks=shapes, num_classes=num_classes))


def check_two_stream(
    *,
    backbone: str,
    fusion: str,
    clip_length: int,
    size: int,
    width: float,
    motion_backbone: str | None = None,
) -> None:
    """Refuse what `build_two_stream` refuses, without the cost of building it.

    Raises:
        ValueError: As `build_two_stream`.
    """
    shapes = {
        key: network_shape(name, clip_length=clip_length, size=size, width=width)
        for key, name in backbone_names(backbone, fusion, motion_backbone).items()
    }
    with torch.device("meta"):
        build_fusion(fusion, networks=shapes, num_classes=2)


def backbone_names(backbone: str, fusion: str, motion_backbone: str | None) -> dict[str, str]:
    """Which backbone each of the fusion's networks is, by the network's key.

    Raises:
        ValueError: If the fusion is unknown, or has no network that `motion_backbone` could be.
    """
    inputs = find_fusion(fusion).inputs
    if motion_backbone not in (None, backbone) and ("motion",) not in inputs.values():
        raise ValueError(
            f"{fusion} has no network for the motion stream alone, so motion_backbone must be left "
            f"open or be {backbone}, got {motion_backbone!r}"
        )
    return {
        key: motion_backbone if motion_backbone and streams == ("motion",) else backbone
        for key, streams in inputs.items()
    }


def network_shape(name: str, *, clip_length: int, size: int, width: float) -> NetworkShape:
    """Shapes of a backbone's maps, the same whichever stream it sees.

    Raises:
        ValueError: If the name is unknown, or the clip is too short or too small for it.
    """
    find_backbone(name).check_clip(clip_length, size)
    return _shape_of(name, clip_length, size, width)


@lru_cache(maxsize=4096)
def _shape_of(name: str, clip_length: int, size: int, width: float) -> NetworkShape:
    """Send a clip without content through a network without weights."""
    channels = STREAM_CHANNELS["appearance"]
    maps = []
    with torch.device("meta"), torch.no_grad():
        backbone = build_backbone(
            name,
            in_channels=channels,
            clip_length=clip_length,
            size=size,
            width=width,
            dropout=0.0,
        ).eval()
        state = backbone.start(torch.empty(1, channels, clip_length, size, size))
        for stage in backbone.stages:
            state = stage(state)
            maps.append(MapShape(*backbone.read(state).shape[1:]))
    return NetworkShape(name, backbone.num_features, tuple(maps), backbone.per_frame)


def _joined(clips: list[Tensor]) -> Tensor:
    return clips[0] if len(clips) == 1 else torch.cat(clips, dim=1)
