"""A trained network whose answer is one number per class and whose last maps can be observed."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones.backbone import Backbone, Stage, in_turn
from asd_experiments.models.fusion import StreamName
from asd_experiments.models.two_stream import STREAM_CHANNELS, TwoStream


class ObservedBackbone(Backbone):
    """A backbone that shows the maps of its last stage to the module `last_maps`.

    The maps are those that fusions read: before any fusion mixes them, of SlowFast those of the
    slow pathway, of MViT the tokens of the places. It shares all layers with the backbone.

    Args:
        backbone: Any backbone.
    """

    def __init__(self, backbone: Backbone) -> None:
        nn.Module.__init__(self)  # it has no layers of its own to build
        self.backbone = backbone
        self.last_maps = nn.Identity()

    @property
    def stages(self) -> Sequence[Stage]:
        """The backbone's own stages; what the last one ends with is shown."""
        *others, last = self.backbone.stages
        return [*others, in_turn(last, self._show)]

    def start(self, clip: Float[Tensor, "clip channel time height width"]) -> Any:
        """As the backbone does."""
        return self.backbone.start(clip)

    def read(self, state: Any) -> Float[Tensor, "clip channel time height width"]:
        """As the backbone does."""
        return self.backbone.read(state)

    def write(self, state: Any, maps: Float[Tensor, "clip channel time height width"]) -> Any:
        """As the backbone does."""
        return self.backbone.write(state, maps)

    def features(self, state: Any) -> Float[Tensor, "clip feature"]:
        """As the backbone does."""
        return self.backbone.features(state)

    def _show(self, state: Any) -> Any:
        return self.backbone.write(state, self.last_maps(self.backbone.read(state)))


class ObservedNetwork(nn.Module):
    """Log-odds of every class, from the clips of those streams that the network looks at.

    Log-odds and not scores: scores may all be shifted by the same number without another answer,
    and the scores of some fusions are logarithms of probabilities.

    Args:
        network: A trained network, whose layers are shared; it is left in evaluation mode.
    """

    def __init__(self, network: TwoStream) -> None:
        super().__init__()
        backbones = {
            key: ObservedBackbone(cast(Backbone, backbone))
            for key, backbone in network.backbones.items()
        }
        self.network = TwoStream(backbones, network.fusion).eval()
        for module in self.network.modules():
            if isinstance(module, nn.RNNBase):  # cuDNN gives no gradient in evaluation mode
                module.train()  # without dropout inside, which none here has, nothing else changes

    @property
    def streams(self) -> tuple[StreamName, ...]:
        """Streams that the network looks at, in the order of `forward`."""
        return self.network.streams

    @property
    def last_maps(self) -> dict[str, nn.Module]:
        """Modules that the last maps of every backbone pass through, by the backbone's key."""
        backbones = cast(dict[str, ObservedBackbone], dict(self.network.backbones.items()))
        return {key: backbone.last_maps for key, backbone in backbones.items()}

    def forward(
        self, *clips: Float[Tensor, "clip _ time height width"]
    ) -> Float[Tensor, "clip class"]:
        """Log-odds of every class, one clip for each of `streams`."""
        seen = dict(zip(self.streams, clips, strict=True))
        shape = clips[0].shape
        blank = {
            stream: clips[0].new_zeros(shape[0], channels, *shape[2:])
            for stream, channels in STREAM_CHANNELS.items()
            if stream not in seen
        }
        given = {**seen, **blank}
        return log_odds(self.network(given["appearance"], given["motion"]).fused)


def log_odds(scores: Float[Tensor, "clip class"]) -> Float[Tensor, "clip class"]:
    """Logarithm of the probability of every class over that of all others together.

    Args:
        scores: Logits, of which `softmax` makes probabilities.
    """
    own = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
    others = scores.unsqueeze(1).masked_fill(own, -torch.inf)
    return scores - others.logsumexp(dim=2)
