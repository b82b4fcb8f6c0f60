"""R(2+1)D: every 3D convolution split into a spatial and a temporal one."""

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D

from asd_experiments.models.backbones.backbone import Backbone, Stage, scale_channels
from asd_experiments.models.backbones.published import TorchvisionWeights

STEM_CHANNELS = (45, 64)
STAGE_CHANNELS = (64, 128, 256, 512)
BLOCKS_PER_STAGE = 2


class R2Plus1D(Backbone):
    """R(2+1)D with 18 layers, of torchvision's blocks, pooled over the whole feature map.

    With `width` 1 it is torchvision's `r2plus1d_18`, layer by layer and name by name, so its
    weights load here once its `fc` is left out. Stages 2 to 4 halve time and space.

    References:
        Tran et al. 2018, section 3.5, https://arxiv.org/abs/1711.11248.
        torchvision, `torchvision.models.video.r2plus1d_18`.
    """

    min_size = 16
    stem_convolutions = ("stem.0",)
    published = TorchvisionWeights(
        dataset="kinetics400", name="R2Plus1D_18_Weights.KINETICS400_V1", head=("fc",)
    )

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        middle, channels = (scale_channels(published, width) for published in STEM_CHANNELS)
        stages = [scale_channels(published, width) for published in STAGE_CHANNELS]
        self.stem = _stem(in_channels, middle, channels)
        self.layer1 = _stage(channels, stages[0], stride=1)
        self.layer2 = _stage(stages[0], stages[1], stride=2)
        self.layer3 = _stage(stages[1], stages[2], stride=2)
        self.layer4 = _stage(stages[2], stages[3], stride=2)
        self._initialise()
        return stages[3]

    @property
    def stages(self) -> list[Stage]:
        """The stem and the four layers."""
        return [self.stem, self.layer1, self.layer2, self.layer3, self.layer4]

    def features(
        self, state: Float[Tensor, "clip channel time height width"]
    ) -> Float[Tensor, "clip feature"]:
        """Average the last stage's maps over time and space."""
        features: Tensor = self.dropout(state.mean(dim=(2, 3, 4)))
        return features

    def _initialise(self) -> None:
        # Batch norm starts at scale 1 and shift 0 by itself.
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def _stem(in_channels: int, middle: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(in_channels, middle, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, channels, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(channels),
        nn.ReLU(inplace=True),
    )


def _stage(in_channels: int, channels: int, *, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or in_channels != channels:
        shortcut = nn.Sequential(
            nn.Conv3d(in_channels, channels, kernel_size=1, stride=stride, bias=False),
            nn.BatchNorm3d(channels),
        )
    blocks = [BasicBlock(in_channels, channels, Conv2Plus1D, stride, shortcut)]
    for _ in range(1, BLOCKS_PER_STAGE):
        blocks.append(BasicBlock(channels, channels, Conv2Plus1D))
    return nn.Sequential(*blocks)
