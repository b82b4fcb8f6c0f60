"""torchvision's video ResNets with 18 layers: they differ in their convolutions alone."""

from typing import Any

from torch import nn

from asd_experiments.models.backbones.backbone import Backbone, Stage, scale_channels

STEM_CHANNELS = 64
STAGE_CHANNELS = (64, 128, 256, 512)
BLOCKS_PER_STAGE = 2


class VideoResNet(Backbone):
    """A ResNet-18 of torchvision's blocks, pooled over the whole feature map.

    With `width` 1 it is torchvision's network layer by layer and name by name, so its weights
    load here once its `fc` is left out. A subclass names the convolutions of the four layers.
    """

    canonical_clip = (16, 112)
    min_size = 16
    faster_channels_last = True
    stem_convolutions = ("stem.0",)

    def conv_makers(self) -> list[Any]:
        """Torchvision's class of the convolutions of each of the four layers."""
        raise NotImplementedError

    def make_stem(self, in_channels: int, width: float) -> nn.Sequential:
        """The layers before the first block: one 3D convolution, unless a subclass differs."""
        return conv_norm_relu(in_channels, scale_channels(STEM_CHANNELS, width), (3, 7, 7))

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        stem, *stages = (scale_channels(c, width) for c in (STEM_CHANNELS, *STAGE_CHANNELS))
        makers = self.conv_makers()
        self.stem = self.make_stem(in_channels, width)
        self.layer1 = _stage(stem, stages[0], makers[0], stride=1)
        self.layer2 = _stage(stages[0], stages[1], makers[1], stride=2)
        self.layer3 = _stage(stages[1], stages[2], makers[2], stride=2)
        self.layer4 = _stage(stages[2], stages[3], makers[3], stride=2)
        self._initialise()
        return stages[3]

    @property
    def stages(self) -> list[Stage]:
        """The stem and the four layers."""
        return [self.stem, self.layer1, self.layer2, self.layer3, self.layer4]

    def _initialise(self) -> None:
        # Batch norm starts at scale 1 and shift 0 by itself.
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def conv_norm_relu(in_channels: int, channels: int, kernel: tuple[int, int, int]) -> nn.Sequential:
    """A convolution that keeps time, and halves space if it looks at space; batch norm; ReLU."""
    convolution = nn.Conv3d(
        in_channels,
        channels,
        kernel,
        stride=(1, 2, 2) if kernel[1] > 1 else 1,
        padding=(kernel[0] // 2, kernel[1] // 2, kernel[2] // 2),
        bias=False,
    )
    return nn.Sequential(convolution, nn.BatchNorm3d(channels), nn.ReLU(inplace=True))


def _stage(in_channels: int, channels: int, conv_maker: Any, *, stride: int) -> nn.Sequential:
    from torchvision.models.video.resnet import BasicBlock

    shortcut = None
    if stride != 1 or in_channels != channels:
        step = conv_maker.get_downsample_stride(stride)
        shortcut = nn.Sequential(
            nn.Conv3d(in_channels, channels, kernel_size=1, stride=step, bias=False),
            nn.BatchNorm3d(channels),
        )
    blocks = [BasicBlock(in_channels, channels, conv_maker, stride, shortcut)]
    for _ in range(1, BLOCKS_PER_STAGE):
        blocks.append(BasicBlock(channels, channels, conv_maker))
    return nn.Sequential(*blocks)
