import pytest
import torch

from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.two_stream import build_two_stream


def train_once(backbone: str, fusion: str, *, gradient_checkpointing: bool):
    torch.manual_seed(0)
    length = max(8, BACKBONES[backbone].min_clip_length)
    size = max(32, BACKBONES[backbone].min_size)
    network = build_two_stream(
        backbone=backbone,
        fusion=fusion,
        num_classes=2,
        clip_length=length,
        size=size,
        width=0.125,
        dropout=0.5,
    ).train()
    network.gradient_checkpointing = gradient_checkpointing
    clips = torch.randn(2, 3, length, size, size), torch.randn(2, 2, length, size, size)
    scores = network(*clips).fused
    scores.square().sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return scores.detach(), gradients, dict(network.named_buffers())


@pytest.mark.parametrize(
    ("backbone", "fusion"),
    [
        *((backbone, "late_average") for backbone in BACKBONES),
        *(("slow_50", fusion) for fusion in ("lateral", "squeeze_excite")),
        ("slowfast_50", "lateral"),
    ],
)
def test_scores_gradients_and_statistics_are_those_without(backbone, fusion):
    """Running statistics too: the second pass through a stage must not count again.

    Fusions between the stages join what is computed again; SlowFast's state is a list.
    """
    scores, gradients, buffers = train_once(backbone, fusion, gradient_checkpointing=False)
    again = train_once(backbone, fusion, gradient_checkpointing=True)
    assert torch.equal(scores, again[0])
    assert gradients.keys() == again[1].keys() and buffers.keys() == again[2].keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(again[1][name], gradient, msg=name)
    for name, value in buffers.items():
        assert torch.equal(again[2][name], value), name


def test_the_maps_inside_the_stages_are_not_kept():
    """What the forward pass keeps for the gradient, in numbers."""
    kept = {}
    for gradient_checkpointing in (False, True):
        sizes: list[int] = []

        def note(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        network = build_two_stream(
            backbone="slow_50",
            fusion="motion_only",
            num_classes=2,
            clip_length=8,
            size=32,
            width=0.125,
            dropout=0.0,
        ).train()
        network.gradient_checkpointing = gradient_checkpointing
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            network(torch.randn(2, 3, 8, 32, 32), torch.randn(2, 2, 8, 32, 32))
        kept[gradient_checkpointing] = sum(sizes)
    assert kept[True] < 0.2 * kept[False]


def test_evaluation_is_left_alone(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("nothing needs a gradient here")

    monkeypatch.setattr("asd_experiments.models.two_stream.recomputed", refuse)
    network = build_two_stream(
        backbone="slow_50",
        fusion="motion_only",
        num_classes=2,
        clip_length=8,
        size=32,
        width=0.125,
        dropout=0.0,
    )
    network.gradient_checkpointing = True
    clips = torch.randn(1, 3, 8, 32, 32), torch.randn(1, 2, 8, 32, 32)
    with torch.no_grad():
        network.train()(*(clip.repeat(2, 1, 1, 1, 1) for clip in clips))
    network.eval()(*clips)
