"""What every fusion is: from the streams' maps and features to scores of the classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

StreamName = Literal["appearance", "motion"]

NUM_HIDDEN = 256
"""Units of the hidden layer of the fusions that have one: bounded, so that a wide network does
not make the fusion the largest part of the model."""

Maps = Float[Tensor, "clip channel time height width"]


class Scores(NamedTuple):
    """Scores of the classes, all of them logits: `softmax` makes them class probabilities."""

    fused: Float[Tensor, "clip class"]
    """The model's answer, which the metrics take."""

    appearance: Float[Tensor, "clip class"] | None
    """What the appearance stream says by itself, from parameters that the loss trains; None when
    the fusion has no such parameters, or no such stream."""

    motion: Float[Tensor, "clip class"] | None
    """What the motion stream says by itself; None as for `appearance`."""


class MapShape(NamedTuple):
    """Shape of the feature maps of one clip."""

    channels: int
    time: int
    height: int
    width: int


@dataclass(frozen=True)
class NetworkShape:
    """What a fusion has to know of a backbone."""

    name: str
    """Name of the backbone."""

    num_features: int
    """Length of its feature vector."""

    maps: tuple[MapShape, ...]
    """Shape of its maps after every stage."""

    per_frame: bool
    """Whether it looks at one frame at a time."""


class Fusion(nn.Module):
    """Joins the streams and classifies; one file per way beside this one.

    A fusion may change the feature maps between the stages of the backbones (`mix`), and always
    makes scores of their feature vectors (`forward`).

    Args:
        networks: Shape of each backbone, by its key in `inputs`.
        num_classes: Classes to tell apart, at least 2.

    Raises:
        ValueError: If there are fewer than two classes, or the backbones cannot be joined so.
    """

    inputs: ClassVar[Mapping[str, tuple[StreamName, ...]]] = {
        "appearance": ("appearance",),
        "motion": ("motion",),
    }
    """Backbones by key, and the streams that each one sees, joined by channel."""

    mixed_stages: tuple[int, ...] = ()
    """Stages, counted from 0, after which `mix` is called."""

    def __init__(self, *, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.build(networks, num_classes)

    def build(self, networks: Mapping[str, NetworkShape], num_classes: int) -> None:
        """Make the layers, with fresh weights; see the class for the arguments.

        Raises:
            ValueError: If the backbones cannot be joined in this way; it says why.
        """
        raise NotImplementedError

    @property
    def streams(self) -> tuple[StreamName, ...]:
        """Streams that are looked at."""
        return tuple(dict.fromkeys(name for names in self.inputs.values() for name in names))

    def mix(self, stage: int, maps: Mapping[str, Maps]) -> dict[str, Maps]:
        """Maps that go on to the next stage; none changes its shape.

        Args:
            stage: One of `mixed_stages`.
            maps: Maps of every backbone after that stage.
        """
        raise NotImplementedError

    def forward(self, features: Mapping[str, Float[Tensor, "clip _"]]) -> Scores:
        """Score every clip from the feature vectors of every backbone."""
        raise NotImplementedError

    def trained(self, scores: Scores) -> tuple[Float[Tensor, "clip class"], ...]:
        """The scores that the loss is taken of; the losses are added."""
        return (scores.fused,)

    def figures(self) -> dict[str, float]:
        """What the training has set and a reader wants to see, by name; nothing as a rule."""
        return {}


def linear_classifier(num_features: int, num_classes: int) -> nn.Linear:
    """Build the last layer, started near zero so that all classes begin equally probable.

    References:
        Standard deviation 0.01: the classifiers of torchvision's and pytorchvideo's video ResNets.
    """
    classifier = nn.Linear(num_features, num_classes)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
    return classifier


def hidden_classifier(num_features: int, num_classes: int) -> nn.Sequential:
    """Build a hidden layer of `NUM_HIDDEN` units and the last layer.

    References:
        He et al. 2015, section 2.2 (start of the hidden layer), https://arxiv.org/abs/1502.01852.
    """
    hidden = nn.Linear(num_features, NUM_HIDDEN)
    nn.init.kaiming_normal_(hidden.weight, nonlinearity="relu")
    nn.init.zeros_(hidden.bias)
    return nn.Sequential(hidden, nn.ReLU(), linear_classifier(NUM_HIDDEN, num_classes))


def check_same_grid(
    fusion: str, networks: Mapping[str, NetworkShape], stages: tuple[int, ...]
) -> None:
    """Refuse two networks whose maps do not lie on one another.

    Args:
        fusion: Name of the fusion, for the message.
        networks: Shapes of the networks `appearance` and `motion`.
        stages: Stages, counted from 0, after which the maps meet.

    Raises:
        ValueError: If the maps differ in time, height or width after one of the stages.
    """
    for stage in stages:
        appearance, motion = (networks[key].maps[stage] for key in ("appearance", "motion"))
        if appearance[1:] != motion[1:]:
            raise ValueError(
                f"{fusion} needs maps of the same time x height x width in both streams; after "
                f"stage {stage + 1} {networks['appearance'].name} has {_grid(appearance)} "
                f"(appearance) and {networks['motion'].name} {_grid(motion)} (motion); give both "
                "streams the same backbone, or choose squeeze_excite or cross_attention"
            )


def _grid(maps: MapShape) -> str:
    return f"{maps.time}x{maps.height}x{maps.width}"
