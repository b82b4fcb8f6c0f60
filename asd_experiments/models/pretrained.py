"""Pretrained weights: found in a hub or a file, fitted to every network, and accounted for."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

from torch import Tensor

from asd_experiments.config import DATASETS, FRESH
from asd_experiments.errors import InputError, did_you_mean
from asd_experiments.hub import fetch
from asd_experiments.models.backbones import find_backbone
from asd_experiments.models.backbones.backbone import Backbone
from asd_experiments.models.backbones.published import Published
from asd_experiments.models.fusion import StreamName, find_fusion
from asd_experiments.models.stem import adapt_stem, can_adapt
from asd_experiments.models.two_stream import TwoStream, backbone_names
from asd_experiments.normalisation import KINETICS
from asd_experiments.user_file import read_file
from asd_experiments.weights import parse_state

LEAST_SHARE = 0.9
"""Share of a network's weights that a file must have, and of a file's that the network must take.

Networks of one library share many names and shapes: a Slow-R101 has nearly all that a Slow-R50
asks for, and much more, and half of a Slow-R50 would load into an I3D.
"""

_CONTAINERS = ("state_dict", "model_state", "model")
_NAMED = 3


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights, read."""

    name: str
    """Its name, without its folder."""

    parameter: str
    """The parameter that named it."""

    sha256: str
    """Digest of its content."""

    tensors: Mapping[str, Tensor]
    """What it holds, by its own names."""


class _Choice(NamedTuple):
    """What a network is to start from."""

    parameter: str
    value: str


@dataclass(frozen=True)
class FittedWeights:
    """Weights for one network, and an account of where each tensor of the file went."""

    file: str
    """Name of the file."""

    sha256: str
    """Digest of the file."""

    tensors: Mapping[str, Tensor]
    """Weights by their names in the backbone."""

    num_loaded: int
    """Tensors that were taken as they are."""

    num_reshaped: int
    """Tensors of the stem that were made to fit the clip's channels."""

    num_skipped: int
    """Tensors of the file that were left out: its classifier, other networks."""

    num_fresh: int
    """Tensors of the network that the file has not, and that start anew."""

    @property
    def account(self) -> dict[str, str | int]:
        """All but the tensors."""
        names = ("file", "sha256", "num_loaded", "num_reshaped", "num_skipped", "num_fresh")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        return (
            f"{self.num_loaded} tensors loaded, {self.num_reshaped} reshaped, "
            f"{self.num_skipped} skipped, {self.num_fresh} fresh; "
            f"{self.file}, SHA-256 {self.sha256[:12]}"
        )


def fit_pretrained(
    pretrained: str | None, network: TwoStream, motion_pretrained: str | None = None
) -> dict[str, FittedWeights]:
    """Find the weights and fit them to the backbones of a model.

    Args:
        pretrained: A data set of `DATASETS`, whose published weights are loaded, or a file. None:
            fresh weights. Refused where `motion_pretrained` differs and leaves no network for it.
        network: The model; it may be on the meta device, and is left as it is.
        motion_pretrained: The same for the network that sees the motion stream alone, or `FRESH`.
            None: `pretrained`. Refused if it differs where one network sees both streams.

    Returns:
        By the backbone's key in the model; a backbone with fresh weights is not there.

    Raises:
        InputError: If there are no such weights, they cannot be had, or they do not fit.
    """
    choices = _choices(pretrained, network.fusion.inputs, motion_pretrained)
    backbones = {key: cast(Backbone, network.backbones[key]) for key in choices}
    places = {key: _place(choices[key], backbone, key) for key, backbone in backbones.items()}
    named = {path: choices[key].parameter for key, path in places.items()}
    files = {path: _read(path, parameter) for path, parameter in named.items()}
    return {
        key: fit_backbone(files[places[key]], backbone, key) for key, backbone in backbones.items()
    }


def check_published(
    *,
    backbone: str,
    fusion: str,
    pretrained: str | None,
    motion_backbone: str | None = None,
    motion_pretrained: str | None = None,
) -> None:
    """Refuse published weights that no hub has for a network, without asking for any.

    Files of weights are not looked for: they may be on the machine that trains alone.

    Args:
        backbone: As in `build_two_stream`.
        fusion: As in `build_two_stream`.
        pretrained: As in `fit_pretrained`.
        motion_backbone: As in `build_two_stream`.
        motion_pretrained: As in `fit_pretrained`.

    Raises:
        InputError: If there are no such weights.
    """
    names = backbone_names(backbone, fusion, motion_backbone)
    choices = _choices(pretrained, find_fusion(fusion).inputs, motion_pretrained)
    for key, choice in choices.items():
        if choice.value in DATASETS:
            published = find_backbone(names[key]).published
            _address(choice, names[key], published, _own_parameter(key))


def load_pretrained(network: TwoStream, weights: Mapping[str, FittedWeights]) -> None:
    """Put weights into the backbones that they were fitted to.

    Args:
        network: The model; backbones without weights here are left as they are.
        weights: What `fit_pretrained` gave for such a model, by the backbone's key in it.
    """
    for key, fitted in weights.items():
        network.backbones[key].load_state_dict(fitted.tensors, strict=False)


def fit_backbone(file: WeightsFile, backbone: Backbone, key: str) -> FittedWeights:
    """Fit a file's weights to one backbone.

    Args:
        file: The file.
        backbone: The network.
        key: Its name in a two-stream model, which says what to take from a file of such a model.

    Returns:
        The weights by their names in the backbone, and where each tensor of the file went.

    Raises:
        InputError: If the file holds other weights; it says which.
    """
    published = backbone.published
    refusal = f"{file.parameter}: {file.name!r} does not hold the weights of {backbone.name()}: "
    remedy = f"; take them from {published.url or published.pages}" if published.dataset else ""
    try:
        return _fit(file, backbone, key)
    except _MisfitError as error:
        raise InputError(f"{refusal}{error}{remedy}") from None


class _MisfitError(Exception):
    """Why weights belong to another network."""


def _fit(file: WeightsFile, backbone: Backbone, key: str) -> FittedWeights:
    published = backbone.published
    module = backbone.get_submodule(published.module)
    wanted = module.state_dict()
    found = _renamed(file.tensors, published)
    prefix = _prefix(found, wanted, key)
    own = {n.removeprefix(prefix): t for n, t in found.items() if n.startswith(prefix)}
    body = {name: t for name, t in own.items() if not name.startswith(_heads(published))}
    taken = {name: tensor for name, tensor in body.items() if name in wanted}
    start = f"{published.module}." if published.module else ""
    reshaped = [
        name
        for name in taken
        if f"{start}{name}".removesuffix(".weight") in backbone.stem_convolutions
        and can_adapt(taken[name].shape, wanted[name].shape)
    ]
    scale = sum(KINETICS.std) / sum(published.normalisation.std)
    for name in reshaped:
        taken[name] = adapt_stem(taken[name], wanted[name].shape[1], flow_scale=scale)
    _check_shapes(taken, wanted)
    _check_shares(taken, wanted, body)
    return FittedWeights(
        file.name,
        file.sha256,
        tensors={start + name: tensor for name, tensor in taken.items()},
        num_loaded=len(taken) - len(reshaped),
        num_reshaped=len(reshaped),
        num_skipped=len(file.tensors) - len(taken),
        num_fresh=len(backbone.state_dict()) - len(taken),
    )


def _choices(
    pretrained: str | None,
    inputs: Mapping[str, tuple[StreamName, ...]],
    motion_pretrained: str | None,
) -> dict[str, _Choice]:
    """What each network of a fusion starts from, but for those with fresh weights."""
    if motion_pretrained not in (None, pretrained) and ("motion",) not in inputs.values():
        raise InputError(
            f"motion_pretrained={motion_pretrained}: this fusion has no network for the motion "
            "stream alone; leave it out"
        )
    choices = {}
    for key, streams in inputs.items():
        if streams == ("motion",) and motion_pretrained is not None:
            if motion_pretrained != FRESH:
                choices[key] = _Choice("motion_pretrained", motion_pretrained)
        elif pretrained is not None:
            choices[key] = _Choice("pretrained", pretrained)
    if pretrained not in (None, motion_pretrained) and all(
        choice.parameter != "pretrained" for choice in choices.values()
    ):
        raise InputError(
            f"pretrained={pretrained}: this fusion has no other network than that of "
            f"motion_pretrained={motion_pretrained}; leave one of them out"
        )
    return choices


def _place(choice: _Choice, backbone: Backbone, key: str) -> Path:
    """The file of a backbone's weights."""
    name, published, own = backbone.name(), backbone.published, _own_parameter(key)
    if choice.value in DATASETS:
        address = _address(choice, name, published, own)
        return fetch(address, f"the {choice.value} weights of {name}", own)
    file = Path(choice.value)
    if file.is_file():
        return file
    remedy = _remedy(choice.value, published, name, own)
    raise InputError(f"{choice.parameter}={choice.value}: there is no such file; {remedy}")


def _address(choice: _Choice, name: str, published: Published, own: str) -> str:
    """Where a hub has the weights of a data set."""
    if published.dataset == choice.value and published.url:
        return published.url
    remedy = _remedy(choice.value, published, name, own)
    raise InputError(
        f"{choice.parameter}={choice.value}: no hub has such weights of {name}; {remedy}"
    )


def _own_parameter(key: str) -> str:
    """The parameter that would set this network's weights alone."""
    return "motion_pretrained" if key == "motion" else "pretrained"


def _remedy(value: str, published: Published, name: str, parameter: str) -> str:
    """What a network can start from, where there is nothing of the name that was given."""
    if published.dataset is None:
        return f"pass {parameter}=FILE if you have weights of {name}"
    if published.url is None:
        return (
            f"download the {published.dataset} weights of {name} from {published.pages} "
            f"and pass {parameter}=FILE"
        )
    hint = did_you_mean(value, [published.dataset])
    return f"{name} starts from {parameter}={published.dataset} or a file of weights{hint}"


def _read(path: Path, parameter: str) -> WeightsFile:
    content = read_file(path, parameter)
    tensors = _tensors(parse_state(content, path, parameter))
    if not tensors:
        raise InputError(f"{parameter}: {str(path)!r} holds no tensors by name")
    return WeightsFile(path.name, parameter, hashlib.sha256(content).hexdigest(), tensors)


def _tensors(state: object) -> dict[str, Tensor]:
    """The state dictionary in what a file holds: plain, or in pytorchvideo's or Lightning's."""
    if not isinstance(state, dict):
        return {}
    for container in _CONTAINERS:
        if isinstance(state.get(container), dict):
            return _tensors(state[container])
    return {str(name): tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}


def _renamed(tensors: Mapping[str, Tensor], published: Published) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, ours in published.renames:
            name = re.sub(pattern, ours, name)
        renamed[name] = tensor
    return renamed


def _prefix(found: Iterable[str], wanted: Mapping[str, Tensor], key: str) -> str:
    """What stands before the network's own names in the file."""
    prefixes: Counter[str] = Counter()
    for name in found:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in wanted:
                prefixes[".".join([*parts[:start], ""])] += 1
    if not prefixes:
        raise _MisfitError(f"none of its names is known; it would need {_some(wanted)}")
    most = max(prefixes.values())
    best = sorted(prefix for prefix, number in prefixes.items() if number == most)
    if len(best) > 1:  # two-stream models have one network for each key
        best = [prefix for prefix in best if f".backbones.{key}." in f".{prefix}"] or best
    if len(best) > 1:
        raise _MisfitError(f"it holds several such networks, below {_some(best)}")
    return best[0]


def _heads(published: Published) -> tuple[str, ...]:
    return tuple(f"{layer}." for layer in published.head)


def _check_shapes(taken: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    wrong = [
        f"{name} ({_shape(tensor)}, not {_shape(wanted[name])})"
        for name, tensor in taken.items()
        if tensor.shape != wanted[name].shape
    ]
    if wrong:
        raise _MisfitError(f"other shapes have {_some(wrong)}")


def _check_shares(
    taken: Mapping[str, Tensor], wanted: Mapping[str, Tensor], body: Mapping[str, Tensor]
) -> None:
    """Refuse a file with too little for the network, or with too much beside it."""
    share = _size(taken.values()) / _size(wanted.values())
    if share < LEAST_SHARE:
        missing = [name for name in wanted if name not in taken]
        raise _MisfitError(f"it has {share:.0%} of the network; missing are {_some(missing)}")
    share = _size(body[name] for name in taken) / _size(body.values())
    if share < LEAST_SHARE:
        strange = [name for name in body if name not in taken]
        raise _MisfitError(f"the network takes {share:.0%} of it; left over are {_some(strange)}")


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))


def _some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    first, others = every[:_NAMED], max(0, len(every) - _NAMED)
    return ", ".join(first) + (f" and {others} more" if others else "")
