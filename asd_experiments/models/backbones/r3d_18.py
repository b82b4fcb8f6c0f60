"""R3D: a ResNet of 3D convolutions."""

from typing import Any

from asd_experiments.models.backbones.published import TorchvisionWeights
from asd_experiments.models.backbones.video_resnet import VideoResNet


class R3D(VideoResNet):
    """R3D with 18 layers: 3x3x3 convolutions everywhere.

    Layers 2 to 4 halve time and space. torchvision's network, see `VideoResNet`.

    References:
        Tran et al. 2018, section 3.3, https://arxiv.org/abs/1711.11248.
        torchvision, `torchvision.models.video.r3d_18`.
    """

    published = TorchvisionWeights(
        dataset="kinetics400", name="R3D_18_Weights.KINETICS400_V1", head=("fc",)
    )

    def conv_makers(self) -> list[Any]:
        """See `VideoResNet`."""
        from torchvision.models.video.resnet import Conv3DSimple

        return 4 * [Conv3DSimple]
