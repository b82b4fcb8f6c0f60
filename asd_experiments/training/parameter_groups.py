"""What the optimiser trains, and how fast."""

from typing import Any

from asd_experiments.models.two_stream import TwoStream


def parameter_groups(
    network: TwoStream, *, learning_rate: float, backbone_lr_factor: float
) -> list[dict[str, Any]]:
    """Divide the trained parameters: the fusion, and the backbones with a share of its rate.

    One factor for all stages of a backbone. A decay from stage to stage would be a second number
    that a few dozen patients cannot tell from the first, and its far end, early stages that
    hardly move, is what freezing them does for less.

    Args:
        network: The model; its frozen parameters are in no group.
        learning_rate: Of the fusion.
        backbone_lr_factor: The backbones' share of it.

    References:
        Howard and Ruder 2018, section 3.2 (discriminative fine-tuning),
        https://arxiv.org/abs/1801.06146.
    """
    parts = (
        (network.fusion, learning_rate),
        (network.backbones, learning_rate * backbone_lr_factor),
    )
    groups = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": rate}
        for part, rate in parts
    ]
    return [group for group in groups if group["params"]]
