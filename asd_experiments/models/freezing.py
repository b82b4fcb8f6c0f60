"""Frozen parts of pretrained backbones: neither weights nor batch norm statistics change."""

from collections.abc import Callable
from copy import deepcopy
from typing import cast

import torch

from asd_experiments.config import FreezeName
from asd_experiments.models.backbones.backbone import NUM_STAGES, Backbone
from asd_experiments.models.two_stream import STREAM_CHANNELS, TwoStream

_FROZEN_STAGES: dict[FreezeName, int] = {
    "none": 0,
    "stem": 1,
    "all_but_last_stage": NUM_STAGES - 1,
    "backbone": NUM_STAGES,
}


def freeze(network: TwoStream, part: FreezeName, *, clip_length: int, size: int) -> None:
    """Freeze the first stages of every backbone; fusions between them are trained all the same.

    What a backbone does after its stages (C3D's fc6 and fc7) belongs to the last one. The dropout
    of the features is the classifier's and stays, and so does what is beside the published
    network and starts fresh.

    Args:
        network: The model.
        part: How much of each backbone.
        clip_length: Frames per clip.
        size: Height and width of the clip, pixels.

    References:
        Wang et al. 2016, section 3.2 (batch norm statistics of pretrained networks are kept),
        https://arxiv.org/abs/1608.00859.
    """
    num_frozen = _FROZEN_STAGES[part]
    if num_frozen == 0:
        return
    for key, streams in network.fusion.inputs.items():
        backbone = cast(Backbone, network.backbones[key])
        channels = sum(STREAM_CHANNELS[name] for name in streams)
        stages = stage_of_modules(backbone, (channels, clip_length, size, size))
        published = f"{backbone.published.module}." if backbone.published.module else ""
        backbone.frozen = tuple(
            module
            for name, module in backbone.named_modules()
            if name.startswith(published)
            and module not in (backbone, backbone.dropout)
            and stages.get(name, NUM_STAGES - 1) < num_frozen
        )
        for module in backbone.frozen:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
        backbone.train(backbone.training)


def stage_of_modules(backbone: Backbone, clip: tuple[int, int, int, int]) -> dict[str, int]:
    """Which stage calls which module, learnt from a clip without content.

    Args:
        backbone: The network; it is left as it is.
        clip: Channels, frames, height and width.

    Returns:
        Number of the first stage that calls it, by the module's name. What no stage calls is not
        there.
    """
    network = deepcopy(backbone).to("meta").eval()
    called: dict[str, int] = {}
    running = 0

    def noting(name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            called.setdefault(name, running)

        return note

    for name, module in network.named_modules():
        module.register_forward_pre_hook(noting(name))
    with torch.no_grad():
        state = network.start(torch.empty(1, *clip, device="meta"))
        for number, stage in enumerate(network.stages):
            running = number
            state = stage(state)
    return called
