"""pytorchvideo's network builders, imported without the warning that their import raises."""

import warnings

with warnings.catch_warnings():
    # fvcore 0.1.5, which pytorchvideo needs, compiles a loss nobody calls here when imported.
    warnings.filterwarnings(
        "ignore", message="`torch.jit.script` is deprecated", category=FutureWarning
    )
    from pytorchvideo.models.resnet import create_resnet
    from pytorchvideo.models.slowfast import create_slowfast

__all__ = ["create_resnet", "create_slowfast"]
