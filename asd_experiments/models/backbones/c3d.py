"""C3D: plain 3x3x3 convolutions, as first used to learn features from video."""

from collections import OrderedDict
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones.backbone import Backbone, Stage, scale_channels
from asd_experiments.models.backbones.published import Published
from asd_experiments.normalisation import Normalisation

STAGES = (
    {"conv1a": 64},
    {"conv2a": 128},
    {"conv3a": 256, "conv3b": 256},
    {"conv4a": 512, "conv4b": 512},
    {"conv5a": 512, "conv5b": 512},
)
FULLY_CONNECTED = 4096

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


class C3D(Backbone):
    """Eight 3x3x3 convolutions, five max pools and fc6, fc7; the features are fc7.

    fc6 is sized for one clip length and frame size, so a network takes only the clips it was
    built for. 16x112x112 is the published network (78.0 million parameters with 2 classes); fc6
    grows with the clip and dominates early: at 64x224x224 it alone has 537 million.

    Pool 1 keeps time, pools 2 to 5 halve it. Fewer than 16 frames leave a single one before
    pool 5; from there on, pools are spatial only, which is this project's extension.

    The paper has no batch norm. PyTorch's default start shrinks the signal by the root of 6 in
    every layer, nearly eight thousandfold in all ten, and such a network hardly trains; He's start
    keeps the signal's size, with zero biases.

    References:
        Tran et al. 2015, section 3.3, https://arxiv.org/abs/1412.0767.
        Spatial padding of pool 5 (7 to 4): the authors' Caffe release, kept by its ports.
        He et al. 2015, section 2.2, https://arxiv.org/abs/1502.01852.
    """

    min_size = 16
    stem_convolutions = ("convolutions.conv1a",)
    published = SPORTS1M

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, frames, side = in_channels, clip_length, size
        for number, stage in enumerate(STAGES, start=1):
            for name, published in stage.items():
                out_channels = scale_channels(published, width)
                layers[name] = nn.Conv3d(channels, out_channels, kernel_size=3, padding=1)
                layers[name.replace("conv", "relu")] = nn.ReLU(inplace=True)
                channels = out_channels
            time_step = 2 if number > 1 and frames > 1 else 1
            padding = 1 if number == len(STAGES) else 0
            layers[f"pool{number}"] = nn.MaxPool3d((time_step, 2, 2), padding=(0, padding, padding))
            frames //= time_step
            side = side // 2 + padding
        self.convolutions = nn.Sequential(layers)
        num_features = scale_channels(FULLY_CONNECTED, width)
        self.fc6 = nn.Linear(channels * frames * side * side, num_features)
        self.fc7 = nn.Linear(num_features, num_features)
        self.relu = nn.ReLU()
        self._initialise()
        return num_features

    @property
    def stages(self) -> list[Stage]:
        """The convolutions up to each pool."""
        layers = list(self.convolutions)
        ends = [k + 1 for k, layer in enumerate(layers) if isinstance(layer, nn.MaxPool3d)]
        return [nn.Sequential(*layers[slice(*ends)]) for ends in pairwise([0, *ends])]

    def features(
        self, state: Float[Tensor, "clip channel time height width"]
    ) -> Float[Tensor, "clip feature"]:
        """Compute fc7, after its ReLU and dropout."""
        fc6 = self.dropout(self.relu(self.fc6(state.flatten(1))))
        fc7: Tensor = self.dropout(self.relu(self.fc7(fc6)))
        return fc7

    def _initialise(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
