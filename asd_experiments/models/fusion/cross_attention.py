"""Map fusion: every place of one stream's last maps looks at all places of the other's."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from asd_experiments.models.backbones.backbone import NUM_STAGES
from asd_experiments.models.fusion.concat_fusion import ConcatFusion, num_concatenated
from asd_experiments.models.fusion.fusion import (
    Maps,
    NetworkShape,
    linear_classifier,
)

NUM_HEADS = 4
HEAD_WIDTH = 16
WIDTH = NUM_HEADS * HEAD_WIDTH
"""Width of queries, keys, values and the hidden layer, whatever the networks' width."""


class CrossAttention(ConcatFusion):
    """Co-attention of the two streams' last maps, both ways; a linear classifier on both features.

    The places of the maps are the tokens; each network keeps its own grid. A stream's tokens take
    up what they find in the other's, then pass a hidden layer, both added to what they were. What
    is added starts at zero: training starts with two networks that do not know each other. Without
    the hidden layer, maps of a single place, which leave attention nothing to choose from, could
    only be added. There is no code of the position: padding has told the networks where they are.
    Neither stream has scores of its own: what it says is the answer when the other is blank.

    Shapes: maps `[clip, channel, time, height, width]` are tokens
    `[clip, time * height * width, channel]`, in attention `[clip, NUM_HEADS, token, HEAD_WIDTH]`.

    References:
        Lu et al. 2019, section 2.1 (co-attentional layers), https://arxiv.org/abs/1908.02265.
        Vaswani et al. 2017, section 3, https://arxiv.org/abs/1706.03762.
    """

    mixed_stages = (NUM_STAGES - 1,)

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers; see `Fusion`."""
        appearance, motion = (networks[stream].maps[-1].channels for stream in self.streams)
        self.appearance = Look(appearance, motion)
        self.motion = Look(motion, appearance)
        self.classifier = linear_classifier(num_concatenated(networks), num_classes)

    def mix(self, stage: int, maps: Mapping[str, Maps]) -> dict[str, Maps]:
        """Let each stream look at the other as it was."""
        return {
            "appearance": self.appearance(maps["appearance"], maps["motion"]),
            "motion": self.motion(maps["motion"], maps["appearance"]),
        }


class Look(nn.Module):
    """One stream's look at the other: attention, then a hidden layer, each added.

    Args:
        channels: Channels of the maps that look.
        other_channels: Channels of the maps that are looked at.
    """

    def __init__(self, channels: int, other_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.other_norm = nn.LayerNorm(other_channels)
        self.query = nn.Linear(channels, WIDTH)
        self.key = nn.Linear(other_channels, WIDTH, bias=False)  # the softmax cancels a bias
        self.value = nn.Linear(other_channels, WIDTH)
        self.output = _start_at_zero(nn.Linear(WIDTH, channels))
        self.hidden = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, WIDTH),
            nn.GELU(),
            _start_at_zero(nn.Linear(WIDTH, channels)),
        )

    def forward(
        self,
        maps: Float[Tensor, "clip channel time height width"],
        other: Float[Tensor, "clip o_channel o_time o_height o_width"],
    ) -> Float[Tensor, "clip channel time height width"]:
        """The maps, with what was found in the other ones."""
        tokens, others = _tokens(maps), self.other_norm(_tokens(other))
        found = scaled_dot_product_attention(
            _heads(self.query(self.norm(tokens))),
            _heads(self.key(others)),
            _heads(self.value(others)),
        )
        tokens = tokens + self.output(found.transpose(1, 2).flatten(2))
        tokens = tokens + self.hidden(tokens)
        mixed: Tensor = tokens.transpose(1, 2).reshape(maps.shape)
        return mixed


def _tokens(
    maps: Float[Tensor, "clip channel time height width"],
) -> Float[Tensor, "clip token channel"]:
    return maps.flatten(2).transpose(1, 2)


def _heads(
    tokens: Float[Tensor, "clip token width"],
) -> Float[Tensor, "clip head token head_width"]:
    return tokens.reshape(*tokens.shape[:2], NUM_HEADS, HEAD_WIDTH).transpose(1, 2)


def _start_at_zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
