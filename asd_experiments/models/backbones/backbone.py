"""What every backbone is: a network that turns a clip into one feature vector, in five stages."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from asd_experiments.models.backbones.published import Published

MIN_CHANNELS = 8
NUM_STAGES = 5
"""A stem and four stages, as the ResNets have them and every other network here as well."""

BackboneT = TypeVar("BackboneT", bound="Backbone")

Stage = Callable[[Any], Any]
"""From one state of a network to the next; a state is feature maps as a rule, see `read`."""


class Backbone(nn.Module):
    """A network without its classifier; one file per network beside this one.

    A subclass builds its layers in `build`, and says what its `stages` are and, where it is not
    their average, how `features` come from the last one's maps. Libraries that have the network
    are imported in `build` and not before: the table of all backbones costs little to import.
    Fusions may read and replace the feature maps between stages (`read`, `write`). Dropout is the
    last thing done to the features, so a classifier on them is one linear layer.

    Batch norm, where a network has it, needs more than one value per channel in training mode:
    a batch of one clip whose last feature map is 1x1x1 is refused by PyTorch with "Expected more
    than 1 value per channel when training". A batch of two always trains, and evaluation takes
    any batch.

    Args:
        in_channels: Channels of the clip: 3 for RGB, 2 for optical flow, 5 for both.
        clip_length: Frames per clip, at least `min_clip_length`.
        size: Height and width of the clip, pixels, at least `min_size`.
        width: Multiplier of every layer's channels; 1 is the published network.
        dropout: Probability of dropping a feature in training, 0 to 1.

    Raises:
        ValueError: If the clip is too short or too small for the network, or width not positive.
    """

    canonical_clip: ClassVar[tuple[int, int]]
    """Frames, and height and width in pixels, that the published network is measured on."""

    min_clip_length: ClassVar[int] = 4
    """Shortest clip, frames: below four a 3x3x3 network sees hardly any motion."""

    min_size: ClassVar[int]
    """Smallest frame, pixels: the network's total spatial stride."""

    per_frame: ClassVar[bool] = False
    """Whether every stage looks at one frame at a time (a 2D network)."""

    faster_channels_last: ClassVar[bool] = False
    """Whether a GPU trains it faster with the channels last in memory: as measured in
    benchmarks/RESULTS.md, where depthwise convolutions are several times slower so."""

    stem_convolutions: ClassVar[tuple[str, ...]] = ()
    """Names of the convolutions that see the clip: pretrained ones are fitted to its channels."""

    published: ClassVar[Published] = Published()
    """Published weights, which load where `width` is 1."""

    num_features: int
    """Length of the feature vector."""

    frozen: tuple[nn.Module, ...] = ()
    """Modules that stay in evaluation mode; see `freezing`."""

    def __init__(
        self, *, in_channels: int, clip_length: int, size: int, width: float, dropout: float
    ) -> None:
        super().__init__()
        self.check_clip(clip_length, size)
        if width <= 0:
            raise ValueError(f"width must be positive, got {width}")
        self.dropout = nn.Dropout(dropout)
        self.num_features = self.build(in_channels, clip_length, size, width)

    @classmethod
    def name(cls) -> str:
        """What a user calls the network: its key in `BACKBONES`, which is the name of its file."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def check_clip(cls, clip_length: int, size: int) -> None:
        """Refuse clips that the network cannot take.

        Raises:
            ValueError: If the clip is too short or too small.
        """
        if clip_length < cls.min_clip_length:
            raise ValueError(
                f"clip_length of {cls.name()} must be at least {cls.min_clip_length}, "
                f"got {clip_length}"
            )
        if size < cls.min_size:
            raise ValueError(
                f"size of {cls.name()} must be at least {cls.min_size} px (its total stride), "
                f"got {size}"
            )

    def build(self, in_channels: int, clip_length: int, size: int, width: float) -> int:
        """Make the layers, with fresh weights; see the class for the arguments.

        Returns:
            Length of the feature vector.
        """
        raise NotImplementedError

    def train(self: BackboneT, mode: bool = True) -> BackboneT:
        """Set the mode of every module but the frozen ones."""
        super().train(mode)
        for module in self.frozen:
            module.training = False
        return self

    @property
    def stages(self) -> Sequence[Stage]:
        """The `NUM_STAGES` steps from the clip to the last feature maps, in order."""
        raise NotImplementedError

    def start(self, clip: Float[Tensor, "clip channel time height width"]) -> Any:
        """State before the first stage; the clip is left as it was."""
        return clip

    def read(self, state: Any) -> Float[Tensor, "clip channel time height width"]:
        """Feature maps of a state between stages."""
        maps: Tensor = state
        return maps

    def write(self, state: Any, maps: Float[Tensor, "clip channel time height width"]) -> Any:
        """The same state with other feature maps of the same shape."""
        return maps

    def features(self, state: Any) -> Float[Tensor, "clip feature"]:
        """One feature vector per clip: the last stage's maps, averaged over time and space."""
        features: Tensor = self.dropout(self.read(state).mean(dim=(2, 3, 4)))
        return features

    def forward(
        self, clip: Float[Tensor, "clip channel time height width"]
    ) -> Float[Tensor, "clip feature"]:
        """Compute one feature vector per clip; the clip is left as it was."""
        state = self.start(clip)
        for stage in self.stages:
            state = stage(state)
        return self.features(state)


def in_turn(*steps: Stage) -> Stage:
    """One stage of several steps."""

    def run(state: Any) -> Any:
        for step in steps:
            state = step(state)
        return state

    return run


def scale_channels(channels: int, width: float, *, multiple_of: int = 1) -> int:
    """Multiply a layer's channels by `width`, rounded, never fewer than 8.

    Args:
        channels: Channels of the published layer.
        width: Multiplier; 1 returns `channels`.
        multiple_of: Round to a multiple of this, which must divide 8.
    """
    return max(MIN_CHANNELS, multiple_of * round(channels * width / multiple_of))
