"""What every fusion in the table must do."""

import subprocess
import sys
from typing import get_args

import pytest
import torch
from safetensors.torch import load, save
from torch.nn.functional import cross_entropy

from asd_experiments.config import FusionName
from asd_experiments.models.fusion import FUSIONS, build_fusion, find_fusion
from tests.models.fusion.shapes import shapes
from tests.models.tiny import tiny_clips, tiny_two_stream

NUM_FEATURES = 5
WITH_OWN_SCORES = {
    "appearance_only": {"appearance"},
    "motion_only": {"motion"},
    "late_average": {"appearance", "motion"},
    "late_weighted": {"appearance", "motion"},
    "late_max": {"appearance", "motion"},
    "late_separate": {"appearance", "motion"},
    "late_joint": {"appearance", "motion"},
    "conv_fusion": {"motion"},
}
STARTS_APART = ["lateral", "cross_attention"]


@pytest.fixture(params=list(FUSIONS))
def name(request):
    return request.param


def build(name, num_classes=3):
    torch.manual_seed(0)
    sizes = dict.fromkeys(find_fusion(name).inputs, NUM_FEATURES)
    return build_fusion(name, networks=shapes(**sizes), num_classes=num_classes)


def random_features(name, number=2):
    generator = torch.Generator().manual_seed(1)
    return {
        key: torch.randn(number, NUM_FEATURES, generator=generator, requires_grad=True)
        for key in find_fusion(name).inputs
    }


def loss_of(model, clips, labels):
    scores = model(**clips)
    return sum(cross_entropy(own, labels) for own in model.fusion.trained(scores))


def step(model, clips, labels, lr=0.1):
    optimiser = torch.optim.SGD(model.parameters(), lr=lr)
    optimiser.zero_grad()
    loss_of(model, clips, labels).backward()
    optimiser.step()


def stepped(name, steps=2):
    """A model after some steps: nothing that starts at zero is zero any more."""
    model = tiny_two_stream(name)
    for _ in range(steps):
        step(model.train(), tiny_clips(4), torch.tensor([0, 1, 1, 0]))
    return model.eval()


def test_table_has_every_configured_name_in_order():
    assert tuple(FUSIONS) == get_args(FusionName)


def test_unknown_name_lists_the_choices():
    with pytest.raises(
        ValueError, match=f"unknown fusion 'gatd'; choose one of: {', '.join(FUSIONS)}"
    ):
        build_fusion("gatd", networks={}, num_classes=2)


def test_one_class_is_refused(name):
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        build(name, num_classes=1)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_own_scores_of_the_streams_that_have_them_and_no_other(name, num_classes):
    scores = build(name, num_classes)(random_features(name))
    assert scores.fused.shape == (2, num_classes)
    for stream in ("appearance", "motion"):
        score = getattr(scores, stream)
        assert (score is not None) == (stream in WITH_OWN_SCORES.get(name, set()))
        assert score is None or score.shape == (2, num_classes)


def test_starts_undecided(name):
    scores = build(name)(random_features(name))
    for trained in build(name).trained(scores):
        assert trained.softmax(dim=1).sub(1 / 3).abs().max() < 0.1


@pytest.mark.parametrize("name", STARTS_APART)
def test_new_layers_between_the_networks_start_without_effect(name):
    fusion = build(name)
    for stage in fusion.mixed_stages:
        maps = {key: torch.randn(2, 3, 2, 2, 2) for key in fusion.inputs}
        mixed = fusion.mix(stage, maps)
        for key in maps:
            torch.testing.assert_close(mixed[key], maps[key])


def test_mixed_maps_keep_their_shape_and_the_given_ones_their_values(name):
    fusion = build(name)
    for stage in fusion.mixed_stages:
        maps = {key: torch.randn(2, 3, 2, 2, 2) for key in fusion.inputs}
        before = {key: value.clone() for key, value in maps.items()}
        mixed = fusion.mix(stage, maps)
        assert {key: value.shape for key, value in mixed.items()} == {
            key: value.shape for key, value in maps.items()
        }
        assert all(torch.equal(maps[key], before[key]) for key in maps)


def test_gradient_reaches_every_parameter_of_every_network(name):
    """In the second step: what starts at zero hides in the first one what lies before it."""
    model = tiny_two_stream(name).train()
    for _ in range(2):
        step(model, tiny_clips(8), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1]))
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def clips_told_by(stream, number, *, seed):
    """Clips of two classes that this stream tells apart; the other one is noise."""
    clips, labels = tiny_clips(number, seed=seed), torch.tensor([0, 1] * (number // 2))
    clips[stream][:, 0] += (4.0 * labels - 2)[:, None, None, None]
    return clips, labels


def test_each_stream_alone_can_be_learned(name):
    """No clip is seen twice, so none can be learned by heart.

    A mean with a stream that stays undecided is 3/4 at best, a loss of 0.29; guessing costs 0.69.
    """
    for stream in find_fusion(name).inputs if name.endswith("_only") else ("appearance", "motion"):
        model = tiny_two_stream(name).train()
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        for number in range(40):
            optimiser.zero_grad()
            loss_of(model, *clips_told_by(stream, 8, seed=number)).backward()
            optimiser.step()
        clips, labels = clips_told_by(stream, 32, seed=1000)
        with torch.no_grad():
            assert cross_entropy(model.eval()(**clips).fused, labels) < 0.5


def test_every_stream_has_something_to_say(name):
    model, clips = stepped(name), tiny_clips(3)
    with torch.no_grad():
        scores = model.scores_by_stream(**clips)
        assert torch.equal(scores.fused, model(**clips).fused)
        for stream in ("appearance", "motion"):
            score = getattr(scores, stream)
            assert (score is not None) == (stream in model.streams)
            if score is not None:
                assert score.shape == (3, 2) and score.isfinite().all()


@pytest.mark.parametrize("stream", ["appearance", "motion"])
def test_what_a_stream_says_does_not_depend_on_the_other(name, stream):
    model, clips = stepped(name), tiny_clips(3)
    other = "motion" if stream == "appearance" else "appearance"
    if stream not in model.streams:
        pytest.skip("this fusion does not look at the stream")
    with torch.no_grad():
        said = getattr(model.scores_by_stream(**clips), stream)
        changed = getattr(model.scores_by_stream(**(clips | {other: clips[other] + 1})), stream)
        own = getattr(model.scores_by_stream(**(clips | {stream: clips[stream] + 1})), stream)
    torch.testing.assert_close(said, changed)
    assert not torch.allclose(said, own)


def test_clips_of_a_batch_do_not_mix_and_one_alone_is_taken(name):
    model, clips = stepped(name), tiny_clips(3)
    with torch.no_grad():
        together = model(**clips).fused
        alone = [model(**{s: c[k : k + 1] for s, c in clips.items()}).fused for k in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_one_clip_alone_is_trained(name):
    step(tiny_two_stream(name).train(), tiny_clips(1), torch.tensor([1]))


def test_evaluation_repeats(name):
    model, clips = stepped(name), tiny_clips(2)
    with torch.no_grad():
        assert torch.equal(model(**clips).fused, model(**clips).fused)


def test_same_seed_same_weights(name):
    first, second = (tiny_two_stream(name, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_state_survives_a_file(name):
    model, other, clips = stepped(name), tiny_two_stream(name, seed=9).eval(), tiny_clips(2)
    other.load_state_dict(load(save(model.state_dict())))
    with torch.no_grad():
        assert torch.equal(model(**clips).fused, other(**clips).fused)


@pytest.mark.slow
def test_compiled_they_say_the_same():
    program = [sys.executable, "-m", "tests.models.compiled"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(FUSIONS)


def test_half_precision_says_nearly_the_same(name):
    model, clips = stepped(name), tiny_clips(2)
    with torch.no_grad():
        exact = model(**clips).fused.softmax(dim=1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(**clips).fused.float().softmax(dim=1)
    assert (exact - rough).abs().max() < 0.02


def test_channels_last_says_the_same(name):
    model, clips = stepped(name), tiny_clips(2)
    with torch.no_grad():
        expected = model(**clips).fused
        model.to(memory_format=torch.channels_last_3d)
        last = {s: c.to(memory_format=torch.channels_last_3d) for s, c in clips.items()}
        torch.testing.assert_close(model(**last).fused, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stream", ["appearance", "motion"])
def test_single_stream_is_its_linear_classifier(stream):
    fusion, features = build(f"{stream}_only"), random_features(f"{stream}_only")
    scores = fusion(features)
    by_hand = features[stream] @ fusion.classifier.weight.T + fusion.classifier.bias
    torch.testing.assert_close(scores.fused, by_hand)
    torch.testing.assert_close(getattr(scores, stream), by_hand)


def test_figures_are_numbers(name):
    figures = build(name).figures()
    assert all(isinstance(value, float) for value in figures.values())
    assert set(figures) == ({"appearance_weight"} if name == "late_weighted" else set())
