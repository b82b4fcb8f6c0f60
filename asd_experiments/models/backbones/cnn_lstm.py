"""CNN and LSTM: what ResNet-50 sees in every frame, then a memory over the frames."""

from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones.backbone import scale_channels
from asd_experiments.models.backbones.resnet2d_50 import ResNet2D

HIDDEN = 512


class CNNLSTM(ResNet2D):
    """ResNet-50 per frame, then one layer of LSTM; the features are its output at the last frame.

    The stages are those of `ResNet2D`, and so are the weights that load; the LSTM always starts
    anew. Published networks of this kind differ in the CNN, in the number of layers (one to five)
    and units (256 to 1024), and average over the frames' answers where this one takes the last.

    References:
        Donahue et al. 2015, section 4.1, https://arxiv.org/abs/1411.4389.
        Ng et al. 2015, section 3.2 (512 units), https://arxiv.org/abs/1503.08909.
    """

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers; see `Backbone`."""
        num_features = super().build(in_channels, clip_length, size, width)
        hidden = scale_channels(HIDDEN, width)
        self.lstm = nn.LSTM(num_features, hidden, batch_first=True)
        return hidden

    def features(
        self, state: Float[Tensor, "clip channel time height width"]
    ) -> Float[Tensor, "clip feature"]:
        """Run the LSTM over the frames' averages, and take its last output."""
        outputs, _ = self.lstm(state.mean(dim=(3, 4)).transpose(1, 2))
        features: Tensor = self.dropout(outputs[:, -1])
        return features
