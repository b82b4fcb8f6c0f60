"""MC3: motion in the first layers alone, frame by frame after them."""

from typing import Any

from asd_experiments.models.backbones.published import TorchvisionWeights
from asd_experiments.models.backbones.video_resnet import VideoResNet


class MC3(VideoResNet):
    """Mixed convolutions with 18 layers: 3D in the stem and layer 1, 1x3x3 after them.

    Layers 2 to 4 halve space; time is kept to the end. torchvision's network, see `VideoResNet`.

    References:
        Tran et al. 2018, section 3.4, https://arxiv.org/abs/1711.11248.
        torchvision, `torchvision.models.video.mc3_18`.
    """

    published = TorchvisionWeights(
        dataset="kinetics400", name="MC3_18_Weights.KINETICS400_V1", head=("fc",)
    )

    def conv_makers(self) -> list[Any]:
        """See `VideoResNet`."""
        from torchvision.models.video.resnet import Conv3DNoTemporal, Conv3DSimple

        return [Conv3DSimple, *(3 * [Conv3DNoTemporal])]
