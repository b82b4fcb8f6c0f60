"""A two-stream network that looks at one quadrant of the pictures, and clips for it."""

import torch
from torch import nn

from asd_experiments.models.backbones.backbone import NUM_STAGES, Backbone
from asd_experiments.models.fusion import Fusion, Scores
from asd_experiments.models.two_stream import TwoStream

FRAMES, SIZE = 4, 32


class UpperLeft(Backbone):
    """Its maps are the clip in the upper left quadrant, squared, and 0 elsewhere."""

    def __init__(self, num_features: int) -> None:
        nn.Module.__init__(self)
        self.num_features = num_features
        self.scale = nn.Parameter(torch.ones(()))

    @property
    def stages(self):
        return [self._look] + [lambda state: state] * (NUM_STAGES - 1)

    def _look(self, clip):
        seen = torch.zeros_like(clip)
        seen[..., : SIZE // 2, : SIZE // 2] = 1
        return self.scale * seen * clip**2

    def features(self, state):
        return state.mean(dim=(2, 3, 4))


class SumOf(Fusion):
    """The more the first feature of each stream, the more class 1."""

    def __init__(self, streams: tuple[str, ...], num_classes: int = 2) -> None:
        nn.Module.__init__(self)
        self.inputs = {stream: (stream,) for stream in streams}
        self.num_classes = num_classes

    def forward(self, features):
        total = sum(values.sum(dim=1) for values in features.values())
        scores = torch.stack([torch.zeros_like(total), total], dim=1)
        others = torch.zeros(len(scores), self.num_classes - 2)
        return Scores(torch.cat([scores, others], dim=1), appearance=None, motion=None)


def looking_network(*streams: str, num_classes: int = 2) -> TwoStream:
    channels = {"appearance": 3, "motion": 2}
    backbones = {stream: UpperLeft(channels[stream]) for stream in streams}
    return TwoStream(backbones, SumOf(streams, num_classes)).eval()


def one_clip(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        stream: torch.randn(channels, FRAMES, SIZE, SIZE, generator=generator)
        for stream, channels in (("appearance", 3), ("motion", 2))
    }
