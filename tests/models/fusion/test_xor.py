"""Which fusions can learn what only both streams together tell.

The class is the exclusive or of posture (the body is upright or bent; appearance) and movement (to
the left or to the right; motion). Each stream alone tells nothing, and no sum of one part per
stream can: it would have to be high for (upright, left) and (bent, right) and low for the other
two, though both pairs have the same sum.
"""

import pytest
import torch
from torch.nn.functional import cross_entropy

from asd_experiments.models.fusion import FUSIONS
from tests.models.tiny import CLIP_LENGTH, SIZE, tiny_two_stream

SINGLE = {"appearance_only", "motion_only"}
ADDITIVE = {"late_average", "late_weighted", "late_max", "late_separate", "late_joint"}
JOINED = set(FUSIONS) - SINGLE - ADDITIVE
FAST = {"late_joint", "feature_concat"}


def clips_of_walks(number, *, seed):
    """As many clips of each of the four kinds, in random order; bodies stand anywhere."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.arange(number)[torch.randperm(number, generator=generator)] % 4
    bent, to_the_right = kinds // 2, kinds % 2
    shape = (CLIP_LENGTH, SIZE, SIZE)
    appearance = 0.1 * torch.randn(number, 3, *shape, generator=generator)
    for clip in range(number):
        height, width = (5, 5) if bent[clip] else (12, 5)
        top = int(torch.randint(SIZE - height, (), generator=generator))
        left = int(torch.randint(SIZE - width, (), generator=generator))
        appearance[clip, :, :, top : top + height, left : left + width] += 1
    motion = 0.1 * torch.randn(number, 2, *shape, generator=generator)
    motion[:, 0] += (2.0 * to_the_right - 1)[:, None, None, None]
    kinds = {"appearance": bent, "motion": to_the_right}
    return {"appearance": appearance, "motion": motion}, kinds


def teach_each_network_what_it_sees(model, clips, kinds, *, steps=50):
    """Networks are trained apart before they are joined, as is usual: from nothing, an exclusive or
    gives no hint of where to go, and which fusion finds it would be luck."""
    for key, streams in model.fusion.inputs.items():
        network = model.backbones[key]
        seen = torch.cat([clips[stream] for stream in streams], dim=1)
        probes = [torch.nn.Linear(network.num_features, 2) for _ in streams]
        parameters = [p for module in (network, *probes) for p in module.parameters()]
        optimiser = torch.optim.Adam(parameters, lr=5e-3)
        for batch in torch.arange(len(seen)).split(32)[:steps]:
            features = network(seen[batch])
            losses = [
                cross_entropy(probe(features), kinds[stream][batch])
                for probe, stream in zip(probes, streams, strict=True)
            ]
            optimiser.zero_grad()
            sum(losses).backward()
            optimiser.step()


def accuracy_after_training(fusion, *, seed=0, steps=400):
    model = tiny_two_stream(fusion, seed=seed)
    clips, kinds = clips_of_walks(2048, seed=1)
    labels = kinds["appearance"] ^ kinds["motion"]
    teach_each_network_what_it_sees(model, clips, kinds)
    generator = torch.Generator().manual_seed(2)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(steps):
        batch = torch.randint(len(labels), (32,), generator=generator)
        scores = model(**{stream: clip[batch] for stream, clip in clips.items()})
        loss = sum(cross_entropy(own, labels[batch]) for own in model.fusion.trained(scores))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if cross_entropy(scores.fused, labels[batch]) < 0.001:
            break
    held_out, kinds = clips_of_walks(128, seed=3)
    with torch.no_grad():
        right = (
            model.eval()(**held_out).fused.argmax(dim=1) == kinds["appearance"] ^ kinds["motion"]
        )
    return right.float().mean().item()


def cases(names):
    return [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in sorted(names)]


@pytest.mark.parametrize("fusion", cases(JOINED))
def test_fusions_that_join_the_streams_learn_it(fusion):
    assert accuracy_after_training(fusion) >= 0.95


@pytest.mark.parametrize("fusion", cases(SINGLE))
def test_one_stream_stays_at_chance(fusion):
    assert 0.35 < accuracy_after_training(fusion, steps=150) < 0.65


@pytest.mark.parametrize("fusion", cases(ADDITIVE))
def test_fusions_that_add_the_streams_get_at_most_three_of_four_kinds(fusion):
    assert accuracy_after_training(fusion, steps=150) <= 0.75
