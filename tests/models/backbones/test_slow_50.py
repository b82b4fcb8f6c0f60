import torch
from torch import nn

from asd_experiments.models.backbones.slow_50 import Slow


def test_same_weights_same_features_as_slow_r50():
    # Imported here: pytorchvideo may only be imported after this project has (it warns).
    from pytorchvideo.models.hub import slow_r50

    torch.manual_seed(0)
    published = slow_r50()
    published.blocks[5].pool = nn.AvgPool3d((4, 2, 2))  # the whole map of the small clip below
    published.train()(torch.randn(2, 3, 4, 64, 64))  # moves the running statistics off 0 and 1
    published.eval().blocks[5].proj = nn.Identity()
    own = Slow(in_channels=3, clip_length=4, size=64, width=1.0, dropout=0.5).eval()
    own.network.load_state_dict(published.state_dict())

    clips = torch.randn(2, 3, 4, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(own(clips), published(clips))
