"""ResNet-50 on every frame by itself: the baseline without motion inside a stream."""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones.backbone import Backbone, Stage, in_turn, scale_channels
from asd_experiments.models.backbones.published import TorchvisionWeights

STEM_CHANNELS = 64
BLOCKS = (3, 4, 6, 3)
EXPANSION = 4


class ResNet2D(Backbone):
    """ResNet-50 per frame; the features are averaged over the frames.

    With a linear classifier on them, that equals averaging the frames' scores (their logits, not
    their probabilities), as no other layer comes between.

    With `width` 1 `network` has torchvision's layers and names, so its weights load once its `fc`
    is left out. The layers are two-dimensional: time is folded into the batch around every stage,
    without a copy but for the clip itself.

    References:
        He et al. 2016, table 1, https://arxiv.org/abs/1512.03385.
        Simonyan and Zisserman 2014, section 2 (single frames), https://arxiv.org/abs/1406.2199.
        torchvision, `torchvision.models.resnet50`.
    """

    canonical_clip = (16, 224)
    min_size = 32
    per_frame = True
    faster_channels_last = True
    stem_convolutions = ("network.conv1",)
    published = TorchvisionWeights(
        dataset="imagenet1k", name="ResNet50_Weights.IMAGENET1K_V2", head=("fc",), module="network"
    )

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        stem = scale_channels(STEM_CHANNELS, width)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(in_channels, stem, 7, stride=2, padding=3, bias=False),
            bn1=nn.BatchNorm2d(stem),
            relu=nn.ReLU(inplace=True),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
        channels = stem
        for number, num_blocks in enumerate(BLOCKS):
            planes = stem * 2**number
            layers[f"layer{number + 1}"] = _layer(
                channels, planes, num_blocks, stride=2 if number else 1
            )
            channels = planes * EXPANSION
        self.network = nn.Sequential(layers)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        return channels

    @property
    def stages(self) -> list[Stage]:
        """The stem up to its pool, and the four layers, on every frame."""
        conv, norm, relu, pool, *layers = self.network
        return [on_frames(in_turn(conv, norm, relu, pool)), *(on_frames(layer) for layer in layers)]

    def features(
        self, state: Float[Tensor, "clip channel time height width"]
    ) -> Float[Tensor, "clip feature"]:
        """Average over space, then over the frames."""
        features: Tensor = self.dropout(state.mean(dim=(3, 4)).mean(dim=2))
        return features


def on_frames(layer: Stage) -> Stage:
    """Apply a two-dimensional layer to every frame of a clip's maps."""

    def run(
        maps: Float[Tensor, "clip channel time height width"],
    ) -> Float[Tensor, "clip new_channel time new_height new_width"]:
        frames = layer(maps.transpose(1, 2).flatten(0, 1))
        by_clip: Tensor = frames.unflatten(0, (-1, maps.shape[2])).transpose(1, 2)
        return by_clip

    return run


def _layer(in_channels: int, planes: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    from torchvision.models.resnet import Bottleneck

    channels = planes * EXPANSION
    shortcut = nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(channels),
    )
    others = [Bottleneck(channels, planes) for _ in range(1, num_blocks)]
    return nn.Sequential(Bottleneck(in_channels, planes, stride, shortcut), *others)
