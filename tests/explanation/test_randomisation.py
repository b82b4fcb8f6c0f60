from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from asd_experiments.explanation.randomisation import (
    WHOLLY_RANDOM,
    cascade,
    compare_with_random,
    let_every_branch_speak,
    rank_correlation,
    structural_similarity,
    verdict,
)
from asd_experiments.explanation.saliency import MapName, explain_clip
from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.two_stream import build_two_stream
from tests.models.backbones.builders import small_clip
from tests.models.tiny import CLIP_LENGTH, SIZE, tiny_clips, tiny_two_stream

GRID = {"clip_length": CLIP_LENGTH, "size": SIZE}


def random_maps(seed=0, size=16):
    return np.random.default_rng(seed).random((4, size, size)).astype(np.float32)


def trained_on_the_upper_left(fusion):
    """Learns to tell clips whose upper left corner is bright from those where it is dark."""
    network = tiny_two_stream(fusion)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(60):
        clips = tiny_clips(16, seed=step)
        labels = torch.arange(16) % 2
        for values in clips.values():
            values[..., :6, :6] += (4.0 * labels - 2).reshape(-1, 1, 1, 1, 1)
        loss = cross_entropy(network(**clips).fused, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.2
    return network.eval()


def share_on_the_corner(values):
    return values[:, :6, :6].sum() / values.sum()


def test_random_weights_change_the_maps_of_a_trained_network():
    network = trained_on_the_upper_left("late_average")
    clip = {stream: clips[0] for stream, clips in tiny_clips(1, seed=99).items()}
    for values in clip.values():
        values[..., :6, :6] += 2.0
    explain = partial(explain_clip, clip=clip, target=1, steps=32, batch_size=32)
    fresh = tiny_two_stream("late_average", seed=7)
    for name in (MapName(stream, "integrated_gradients") for stream in clip):
        trained, random = (explain(n).maps[name] for n in (network, fresh))
        assert share_on_the_corner(trained) > 0.5  # of an eighth of the area
        assert share_on_the_corner(random) < share_on_the_corner(trained) - 0.1
    seen = {stream: np.ones((CLIP_LENGTH, SIZE, SIZE), bool) for stream in clip}
    rows = list(compare_with_random(explain, network, fresh, seen))
    assert [row.step for row in rows] == [k for k in range(1, 8) for _ in range(4)]
    final = [row for row in rows if row.step in WHOLLY_RANDOM]
    levels = [rows[0].randomised, final[0].randomised, final[-1].randomised]
    assert levels == ["fusion", "stage 1", "start of a training"]
    assert max(row.spearman for row in final if row.spearman is not None) < 0.8
    assert rows[-1].row.keys() == {"step", "randomised", "source", "method", "spearman", "ssim"}


def test_the_same_weights_give_the_same_maps():
    network = tiny_two_stream("feature_concat", seed=3).eval()
    clip = {stream: clips[0] for stream, clips in tiny_clips(1).items()}
    explain = partial(explain_clip, clip=clip, target=0, steps=8, batch_size=8)
    seen = {stream: np.ones((CLIP_LENGTH, SIZE, SIZE), bool) for stream in clip}
    same = tiny_two_stream("feature_concat", seed=3)
    for row in compare_with_random(explain, network, same, seen):  # it has no batch norm
        assert row.spearman in (None, pytest.approx(1)) and row.ssim in (None, pytest.approx(1))


def changed(network, others):
    """Names of the tensors that are no longer those of the trained network."""
    return {
        name
        for name, values in network.state_dict().items()
        if not torch.equal(values, others[name])
    }


def test_weights_become_random_from_the_answer_down_to_the_clip():
    network, fresh = (tiny_two_stream("late_joint", seed=seed) for seed in (0, 1))
    for tensors in fresh.state_dict().values():
        tensors.add_(1)  # fresh biases are zero in both
    trained = {name: values.clone() for name, values in network.state_dict().items()}
    *steps, last = [(level, changed(n, trained)) for level, n in cascade(network, fresh, **GRID)]
    assert last == ("start of a training", set(trained))
    assert [level for level, _ in steps] == ["fusion", *(f"stage {k}" for k in (5, 4, 3, 2, 1))]
    assert steps[0][1] == {name for name in trained if name.startswith("fusion.")}
    added = [now - before for (_, before), (_, now) in pairwise(steps)]
    for stage, names in zip((4, 3, 2, 1, 0), added, strict=True):
        assert names and all(f"convolutions.{stage}." in name for name in names)
        assert {name.split(".")[1] for name in names} == {"appearance", "motion"}
    assert steps[-1][1] == set(trained)
    assert not changed(network, trained)  # it is left as it is


@pytest.mark.parametrize("name", list(BACKBONES))
def test_no_trained_weight_is_left_in_any_backbone(name):
    frames, size = small_clip(name)

    def make():
        return build_two_stream(
            backbone=name,
            fusion="appearance_only",
            num_classes=2,
            clip_length=frames,
            size=size,
            width=0.125,
            dropout=0.0,
        )

    network, fresh = make(), make()
    for values in fresh.state_dict().values():
        values.add_(1)
    start = {n: values.clone() for n, values in fresh.state_dict().items()}
    *_, (_, scrambled), (_, last) = cascade(network, fresh, clip_length=frames, size=size)
    assert not changed(scrambled, let_every_branch_speak(fresh).state_dict())
    assert not changed(last, start)


def test_what_has_learned_nothing_is_like_the_start_of_a_training():
    """Its residual branches are silent: unlike those of other random weights."""

    def slow(seed):
        torch.manual_seed(seed)
        return build_two_stream(
            backbone="slow_50",
            fusion="appearance_only",
            num_classes=2,
            clip_length=8,
            size=48,
            width=0.125,
            dropout=0.0,
        ).eval()

    clip = {"appearance": torch.randn(3, 8, 48, 48), "motion": torch.zeros(2, 8, 48, 48)}
    explain = partial(explain_clip, clip=clip, target=0, steps=8, batch_size=8)
    seen = {"appearance": np.ones((8, 48, 48), bool)}
    *_, scrambled, start = (
        row
        for row in compare_with_random(explain, slow(0), slow(1), seen)
        if row.name.method == "integrated_gradients"
    )
    assert (scrambled.step, start.step) == WHOLLY_RANDOM
    assert scrambled.spearman < 0.5 < 0.9 < start.spearman


def test_a_random_network_sees_more_than_the_grid_of_its_shortcuts():
    def seen(network):
        clip = torch.randn(1, 3, 8, 48, 48, generator=torch.Generator().manual_seed(0))
        clip.requires_grad_()
        network.eval()(clip, torch.zeros(1, 2, 8, 48, 48)).fused[0, 0].backward()
        reached = clip.grad.abs().sum(dim=(0, 1, 2))
        return float((reached > 1e-9 * reached.max()).float().mean())

    torch.manual_seed(0)
    fresh = build_two_stream(
        backbone="slow_50",
        fusion="appearance_only",
        num_classes=2,
        clip_length=8,
        size=48,
        width=0.125,
        dropout=0.0,
    )
    assert seen(fresh) < 0.2
    assert seen(let_every_branch_speak(fresh)) == 1


def test_rank_correlation_looks_where_it_is_told_and_at_ranks_alone():
    first = random_maps()
    where = np.zeros(first.shape, bool)
    where[:, 4:12, 4:12] = True
    second = np.where(where, first**3, -first)
    assert rank_correlation(first, second, where) == pytest.approx(1)
    assert rank_correlation(first, -first, where) == pytest.approx(-1)
    assert abs(rank_correlation(first, random_maps(1), where)) < 0.2
    assert rank_correlation(first, np.zeros_like(first), where) is None
    assert rank_correlation(first, second, np.zeros_like(where)) is None


def test_blank_surroundings_do_not_make_maps_alike():
    where = np.zeros((4, 16, 16), bool)
    where[:, 5:10, 5:10] = True
    first, second = (random_maps(seed) * where for seed in (0, 1))
    everywhere = np.ones_like(where)
    assert rank_correlation(first, second, everywhere) > 0.7
    assert abs(rank_correlation(first, second, where)) < 0.2
    on_the_body = structural_similarity(first, second, where)
    assert structural_similarity(first, second, everywhere) > on_the_body + 0.15


def test_structural_similarity_of_equal_maps_is_one_whatever_their_scale():
    first = random_maps()
    everywhere = np.ones(first.shape, bool)
    assert structural_similarity(first, 5 * first, everywhere) == pytest.approx(1, abs=1e-5)
    assert structural_similarity(first, random_maps(1), everywhere) < 0.3
    assert structural_similarity(first, np.zeros_like(first), everywhere) is None


def test_the_verdict_names_the_maps_of_both_kinds():
    grad_cam, gradients = (
        MapName("motion", "grad_cam"),
        MapName("appearance", "integrated_gradients"),
    )
    text = verdict({grad_cam: 0.1, gradients: 0.73})
    assert "depend on what was learned: motion, Grad-CAM (rank correlation 0.10)." in text
    assert "the same with random weights: appearance, integrated gradients (rank" in text
    assert "the same" not in verdict({grad_cam: 0.1})
    assert "cannot be told" in verdict({})
