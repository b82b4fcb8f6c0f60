"""pytorchvideo's own table of published weights, imported without the warning of its import."""

import warnings

with warnings.catch_warnings():
    # fvcore 0.1.5, which pytorchvideo needs, compiles a loss nobody calls here when imported.
    warnings.filterwarnings(
        "ignore", message="`torch.jit.script` is deprecated", category=FutureWarning
    )
    from pytorchvideo.models.hub import csn, r2plus1d, resnet, slowfast, x3d

ADDRESSES: dict[str, str] = {
    name: address
    for network in (csn, r2plus1d, resnet, slowfast, x3d)
    for name, address in network.checkpoint_paths.items()
}
"""Address of the weights by the name of the hub's builder."""
