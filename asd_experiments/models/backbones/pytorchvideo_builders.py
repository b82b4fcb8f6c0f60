"""pytorchvideo's builders and its table of weights, imported without their import's warning."""

import warnings

with warnings.catch_warnings():
    # fvcore 0.1.5, which pytorchvideo needs, compiles a loss nobody calls here when imported.
    warnings.filterwarnings(
        "ignore", message="`torch.jit.script` is deprecated", category=FutureWarning
    )
    from pytorchvideo.models.csn import create_csn
    from pytorchvideo.models.hub import csn, r2plus1d, resnet, slowfast, x3d
    from pytorchvideo.models.r2plus1d import create_r2plus1d
    from pytorchvideo.models.resnet import create_resnet
    from pytorchvideo.models.slowfast import create_slowfast
    from pytorchvideo.models.x3d import create_x3d

__all__ = [
    "ADDRESSES",
    "create_csn",
    "create_r2plus1d",
    "create_resnet",
    "create_slowfast",
    "create_x3d",
]

ADDRESSES: dict[str, str] = {
    name: address
    for network in (csn, r2plus1d, resnet, slowfast, x3d)
    for name, address in network.checkpoint_paths.items()
}
"""Address of the weights by the name of the hub's builder."""
