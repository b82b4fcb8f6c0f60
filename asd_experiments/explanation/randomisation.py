"""Do the maps depend on what was learned? They are compared with those of random weights.

References:
    Adebayo et al. 2018, sections 3.1 and 4 (model parameter randomization),
    https://arxiv.org/abs/1810.03292.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchmetrics.functional.image import structural_similarity_index_measure

from asd_experiments.explanation.saliency import Map, MapName, Saliency
from asd_experiments.models.backbones.backbone import NUM_STAGES, Backbone
from asd_experiments.models.freezing import stage_of_modules
from asd_experiments.models.two_stream import STREAM_CHANNELS, TwoStream

ALIKE = 0.5
"""Rank correlation from which on maps are called alike. The paper judges by eye; ours: with less,
the ranks of one map tell less than a quarter of the variance of the other's."""


class Comparison(NamedTuple):
    """A map of a network whose weights are partly random, beside that of the trained one."""

    step: int
    """How far the weights are random, counted from 1; see `cascade`."""

    randomised: str
    """What became random in this step."""

    name: MapName
    """Which map."""

    spearman: float | None
    """See `rank_correlation`."""

    ssim: float | None
    """See `structural_similarity`."""

    @property
    def row(self) -> dict[str, object]:
        """As a row of a table."""
        return {
            "step": self.step,
            "randomised": self.randomised,
            **self.name._asdict(),
            "spearman": self.spearman,
            "ssim": self.ssim,
        }


WHOLLY_RANDOM = (NUM_STAGES + 1, NUM_STAGES + 2)
"""Steps at which no trained weight is left: all random, and as a training starts."""


def compare_with_random(
    explain: Callable[[TwoStream], Saliency],
    network: TwoStream,
    fresh: TwoStream,
    seen: Mapping[str, Bool[np.ndarray, "time height width"]],
) -> Iterator[Comparison]:
    """Compare the maps of one clip with those that more and more random weights give.

    Args:
        explain: Explains the clip by a network.
        network: The trained network; it is left as it is.
        fresh: The same network with fresh weights.
        seen: Pixels of the clip that count, by the source of the map; see `rank_correlation`.
    """
    trained = explain(network).maps
    clip_length, size, _ = next(iter(trained.values())).shape
    steps = cascade(network, fresh, clip_length=clip_length, size=size)
    for step, (level, randomised) in enumerate(steps, start=1):
        for name, values in explain(randomised).maps.items():
            maps = trained[name], values, seen[name.source]
            yield Comparison(
                step, level, name, rank_correlation(*maps), structural_similarity(*maps)
            )


def let_every_branch_speak(fresh: TwoStream) -> TwoStream:
    """Let no fresh batch norm multiply by zero, and return the network.

    Residual branches start at zero in some networks, so that training begins with a shallow one.
    Such a network sees the frame through the strided grid of its shortcuts alone (a fresh slow_50
    an eighth of 48 x 48 pixels), and any trained one would differ from it, by whatever method.

    Args:
        fresh: A network with fresh weights; it is changed.

    References:
        Goyal et al. 2017, section 5.1 (the zero start), https://arxiv.org/abs/1706.02677.
    """
    for module in fresh.modules():
        if isinstance(module, _BatchNorm):
            module.reset_parameters()
    return fresh


def cascade(
    network: TwoStream, fresh: TwoStream, *, clip_length: int, size: int
) -> Iterator[tuple[str, TwoStream]]:
    """Make the weights of a network random, from the answer down to the clip.

    Statistics of batch norm are among the weights. All backbones are changed at once; what a
    backbone does after its stages goes with the fusion. After the stem, no trained weight is left,
    and every residual branch speaks. The last step is the network as a training starts, in which
    some do not: what has learned nothing is to be found like it.

    Args:
        network: The trained network; it is left as it is.
        fresh: The same network with fresh weights; it is left as it is.
        clip_length: Frames per clip.
        size: Height and width of the clip, pixels.

    Yields:
        What has become random in this step, and the network; the next step changes it further.
    """
    start = deepcopy(fresh).to(next(network.parameters()).device).eval()
    fresh, network = let_every_branch_speak(deepcopy(fresh)), deepcopy(network)
    levels = _levels(network, clip_length, size)
    modules, fresh_modules = dict(network.named_modules()), dict(fresh.named_modules())
    for level in range(NUM_STAGES, -1, -1):
        for name, own in levels.items():
            if own == level:
                _overwrite(modules[name], fresh_modules[name])
        yield ("fusion" if level == NUM_STAGES else f"stage {level + 1}"), network
    yield "start of a training", start


def _levels(network: TwoStream, clip_length: int, size: int) -> dict[str, int]:
    """Stage of every module, by its name; `NUM_STAGES` for what comes after all stages."""
    levels = {name: NUM_STAGES for name, _ in network.named_modules()}
    for key, streams in network.fusion.inputs.items():
        channels = sum(STREAM_CHANNELS[stream] for stream in streams)
        backbone = cast(Backbone, network.backbones[key])
        stages = stage_of_modules(backbone, (channels, clip_length, size, size))
        levels |= {f"backbones.{key}.{name}": stage for name, stage in stages.items()}
    return levels


def _overwrite(module: nn.Module, fresh: nn.Module) -> None:
    """Take over a module's own weights and statistics, not those of the modules in it."""
    for own, other in (
        (module.named_parameters(recurse=False), dict(fresh.named_parameters(recurse=False))),
        (module.named_buffers(recurse=False), dict(fresh.named_buffers(recurse=False))),
    ):
        for name, values in own:
            values.data.copy_(other[name].data)


def rank_correlation(
    first: Map, second: Map, where: Bool[np.ndarray, "time height width"]
) -> float | None:
    """Spearman's correlation of two maps.

    Args:
        first: A map.
        second: Another one of the same clip.
        where: Pixels that count: those that the network was shown anything in. Pixels that are
            blank for both are 0 in both maps and would make any two maps alike.

    Returns:
        -1 to 1; None where a map is the same everywhere.
    """
    values = first[where], second[where]
    if any(v.size < 2 or np.ptp(v) == 0 for v in values):
        return None
    return float(spearmanr(*values).statistic)


def structural_similarity(
    first: Map, second: Map, where: Bool[np.ndarray, "time height width"]
) -> float | None:
    """Mean structural similarity (SSIM) of two maps, each as a share of its own maximum.

    Args:
        first: A map.
        second: Another one of the same clip.
        where: Pixels that count, see `rank_correlation`.

    Returns:
        1 for equal maps; None where a map is 0 everywhere or no pixel counts. The window around a
        pixel reaches beyond those that count, so that a small body keeps some likeness.

    References:
        Wang et al. 2004, section III, https://doi.org/10.1109/TIP.2003.819861.
    """
    if not (first.max() > 0 and second.max() > 0 and where.any()):
        return None
    one, other = (
        torch.from_numpy(values / values.max()).unsqueeze(1) for values in (first, second)
    )
    measured = structural_similarity_index_measure(
        one, other, data_range=1.0, return_full_image=True
    )
    _, similarity = cast(tuple[Tensor, Tensor], measured)
    return float(similarity.squeeze(1).numpy()[where].mean())


def verdict(correlations: Mapping[MapName, float]) -> str:
    """Say in plain words whether maps depend on what the network has learned.

    Args:
        correlations: Rank correlation of each kind of map with that of wholly random weights; of
            several kinds of random weights the highest.
    """
    alike = {name: value for name, value in correlations.items() if value >= ALIKE}
    others = {name: value for name, value in correlations.items() if value < ALIKE}
    sentences = []
    if others:
        sentences.append(
            f"These maps depend on what was learned: {_listed(others)}. With random weights they "
            "rank the places of a clip differently."
        )
    if alike:
        sentences.append(
            f"These maps are much the same with random weights: {_listed(alike)}. They show the "
            "clip more than what was learned; do not read them as reasons of the trained network."
        )
    return " ".join(sentences) or (
        "Whether the maps depend on what was learned cannot be told: with random weights they are "
        "the same everywhere."
    )


def _listed(correlations: Mapping[MapName, float]) -> str:
    parts = (f"{name.title} (rank correlation {rho:.2f})" for name, rho in correlations.items())
    return ", ".join(parts)
