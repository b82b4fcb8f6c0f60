"""X3D-S."""

from asd_experiments.models.backbones.published import PytorchvideoWeights
from asd_experiments.models.backbones.x3d import X3D


class X3DS(X3D):
    """X3D in size S, made for 13 frames of 160 pixels; see `X3D`.

    Sizes S and M are one network; what tells them apart is the clip, and so the published weights.

    References:
        Feichtenhofer 2020, table 3, https://arxiv.org/abs/2004.04730.
        pytorchvideo, `pytorchvideo.models.hub.x3d_s`.
    """

    canonical_clip = (13, 160)
    published = PytorchvideoWeights(name="x3d_s", head=("blocks.5.proj",))
