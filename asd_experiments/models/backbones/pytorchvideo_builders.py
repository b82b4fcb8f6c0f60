"""pytorchvideo's network builders, imported without the warning that their import raises."""

import warnings

with warnings.catch_warnings():
    # fvcore 0.1.5, which pytorchvideo needs, compiles a loss nobody calls here when imported.
    warnings.filterwarnings(
        "ignore", message="`torch.jit.script` is deprecated", category=FutureWarning
    )
    from pytorchvideo.models.csn import create_csn
    from pytorchvideo.models.r2plus1d import create_r2plus1d
    from pytorchvideo.models.resnet import create_resnet
    from pytorchvideo.models.slowfast import create_slowfast
    from pytorchvideo.models.x3d import create_x3d

__all__ = ["create_csn", "create_r2plus1d", "create_resnet", "create_slowfast", "create_x3d"]
