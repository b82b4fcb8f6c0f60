"""The convolutions of C3D, with the pools between them."""

from collections import OrderedDict

from torch import nn

from asd_experiments.models.backbones.backbone import Backbone, Stage, in_turn, scale_channels
from asd_experiments.models.backbones.published import Published
from asd_experiments.normalisation import Normalisation

STAGES = (
    {"conv1a": 64},
    {"conv2a": 128},
    {"conv3a": 256, "conv3b": 256},
    {"conv4a": 512, "conv4b": 512},
    {"conv5a": 512, "conv5b": 512},
)


SPORTS1M = Published(
    dataset="sports1m",
    head=("fc8",),
    renames=(
        (r"(^|\.)conv([12])\.(weight|bias)$", r"\1conv\2a.\3"),
        (r"(conv\d[ab])\.conv\.", r"\1."),
        (r"(?<!convolutions\.)(conv\d[ab]\.)", r"convolutions.\1"),
    ),
    pages=(
        "https://github.com/open-mmlab/mmaction2/tree/main/configs/recognition/c3d "
        "(c3d_sports1m_pretrain_20201016-dcc47ddc.pth) or https://github.com/DavideA/c3d-pytorch"
    ),
    scale=Normalisation(mean=(104 / 255, 117 / 255, 128 / 255), std=(1 / 255, 1 / 255, 1 / 255)),
)
"""The authors' weights, as two ports have them, each with names of its own.

References:
    mmaction2, `configs/_base_/models/c3d_sports1m_pretrained.py` (mean and deviation, 0 to 255).
"""


class C3DConvolutions(Backbone):
    """Eight 3x3x3 convolutions and pools 1 to 4; a subclass makes features of conv5b.

    A stage ends with a ReLU; the pool after it begins the next one, so that fusions see the maps
    that the paper on convolutional fusion joins (ReLU5). Pool 1 keeps time, pools 2 to 4 halve it
    as long as there is more than one frame.

    There is no batch norm. PyTorch's default start shrinks the signal by the root of 6 in every
    layer, and such a network hardly trains; He's start keeps the signal's size, with zero biases.

    References:
        Tran et al. 2015, section 3.3, https://arxiv.org/abs/1412.0767.
        He et al. 2015, section 2.2, https://arxiv.org/abs/1502.01852.
        Feichtenhofer et al. 2016, section 3.2, https://arxiv.org/abs/1604.06573.
    """

    canonical_clip = (16, 112)
    min_size = 16
    faster_channels_last = True
    stem_convolutions = ("convolutions.conv1a",)

    def build_convolutions(self, in_channels: int, clip_length: int, width: float) -> int:
        """Make the convolutions and pools.

        Returns:
            Channels of conv5b.
        """
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, frames = in_channels, clip_length
        for number, stage in enumerate(STAGES):
            if number:
                time_step = 2 if number > 1 and frames > 1 else 1
                layers[f"pool{number}"] = nn.MaxPool3d((time_step, 2, 2))
                frames //= time_step
            for name, published in stage.items():
                out_channels = scale_channels(published, width)
                layers[name] = nn.Conv3d(channels, out_channels, kernel_size=3, padding=1)
                layers[name.replace("conv", "relu")] = nn.ReLU(inplace=True)
                channels = out_channels
        self.convolutions = nn.Sequential(layers)
        return channels

    @property
    def stages(self) -> list[Stage]:
        """The convolutions between the pools."""
        layers = list(self.convolutions)
        pools = [k for k, layer in enumerate(layers) if isinstance(layer, nn.MaxPool3d)]
        bounds = zip([0, *pools], [*pools, len(layers)], strict=True)
        return [in_turn(*layers[first:end]) for first, end in bounds]

    def initialise(self) -> None:
        """Start all layers as He et al. do."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
