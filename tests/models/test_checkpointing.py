import pytest
import torch

from asd_experiments.models.backbones import BACKBONES
from tests.models.builders import small_clips, small_two_stream


def train_once(backbone: str, fusion: str, *, gradient_checkpointing: bool):
    network = small_two_stream(backbone, fusion, dropout=0.5).train()
    network.gradient_checkpointing = gradient_checkpointing
    clips = small_clips(2, backbone)
    torch.manual_seed(0)
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

        network = small_two_stream(fusion="motion_only").train()
        network.gradient_checkpointing = gradient_checkpointing
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            network(*small_clips(2))
        kept[gradient_checkpointing] = sum(sizes)
    assert kept[True] < 0.2 * kept[False]


def test_evaluation_is_left_alone(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("nothing needs a gradient here")

    monkeypatch.setattr("asd_experiments.models.two_stream.recomputed", refuse)
    network = small_two_stream(fusion="motion_only")
    network.gradient_checkpointing = True
    with torch.no_grad():
        network.train()(*small_clips(2))
    network.eval()(*small_clips(1))
