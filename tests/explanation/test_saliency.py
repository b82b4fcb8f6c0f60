from dataclasses import replace

import numpy as np
import pytest
import torch

from asd_experiments.explanation.saliency import MapName, explain_clip
from asd_experiments.models.fusion import FUSIONS
from asd_experiments.models.two_stream import STREAM_CHANNELS
from tests.explanation.looks import FRAMES, SIZE, looking_network, one_clip
from tests.models.tiny import CLIP_LENGTH, tiny_clips, tiny_two_stream

SETTINGS = {"steps": 32, "batch_size": 8}


def tiny_saliency(fusion, *, target=1, seed=0, steps=64):
    network = tiny_two_stream(fusion, seed=seed).eval()
    clip = {stream: clips[0] for stream, clips in tiny_clips(1).items()}
    return network, clip, explain_clip(network, clip, target, steps=steps, batch_size=8)


def test_saliency_lies_where_the_network_looks():
    saliency = explain_clip(looking_network("appearance", "motion"), one_clip(), 1, **SETTINGS)
    assert set(saliency.maps) == {
        MapName(stream, method)
        for stream in ("appearance", "motion")
        for method in ("grad_cam", "integrated_gradients")
    }
    for values in saliency.maps.values():
        assert values.shape == (FRAMES, SIZE, SIZE) and values.min() >= 0
        quadrant = values[:, : SIZE // 2, : SIZE // 2]
        assert quadrant.sum() == pytest.approx(values.sum(), rel=1e-6) and values.sum() > 0


def test_integrated_gradients_of_a_square_are_the_square():
    """The integral of the gradient 2 a x of x squared, times x, is x squared."""
    clip = one_clip()
    saliency = explain_clip(looking_network("appearance"), clip, 1, **SETTINGS)
    expected = clip["appearance"] ** 2 / (FRAMES * SIZE * SIZE)
    expected[..., SIZE // 2 :, :] = 0
    expected[..., :, SIZE // 2 :] = 0
    torch.testing.assert_close(saliency.integrated_gradients["appearance"], expected)


def test_grad_cam_is_the_maps_weighted_by_their_mean_gradients():
    """Every map has the same mean gradient here: one over the number of its places."""
    clip = one_clip()
    saliency = explain_clip(looking_network("appearance"), clip, 1, **SETTINGS)
    expected = (clip["appearance"] ** 2).sum(dim=0) / (FRAMES * SIZE * SIZE)
    expected[..., SIZE // 2 :, :] = 0
    expected[..., :, SIZE // 2 :] = 0
    torch.testing.assert_close(saliency.grad_cam["appearance"], expected)
    assert saliency.grids == {"appearance": (1, FRAMES, SIZE, SIZE)}


def test_what_speaks_against_a_class_has_no_grad_cam_and_negative_gradients():
    saliency = explain_clip(looking_network("appearance"), one_clip(), 0, **SETTINGS)
    assert saliency.grad_cam["appearance"].max() == 0
    assert saliency.integrated_gradients["appearance"].max() <= 0


def test_a_third_class_is_told_from_both_others_together():
    saliency = explain_clip(looking_network("appearance", num_classes=3), one_clip(), 1, **SETTINGS)
    score = (one_clip()["appearance"] ** 2)[..., : SIZE // 2, : SIZE // 2].sum() / (
        FRAMES * SIZE * SIZE
    )
    assert saliency.log_odds == pytest.approx(float(score) - np.log(2), rel=1e-5)
    assert saliency.blank_log_odds == pytest.approx(-np.log(2))


@pytest.mark.parametrize("fusion", list(FUSIONS))
def test_integrated_gradients_add_up_for_every_fusion(fusion):
    """To the difference that the clip makes to the log-odds of the probability."""
    network, clip, saliency = tiny_saliency(fusion, steps=300)
    with torch.no_grad():
        clips = [clip[stream].unsqueeze(0) for stream in ("appearance", "motion")]
        odds, blank = (
            torch.logit(network(*pair).fused.softmax(dim=1)[0, 1])
            for pair in (clips, [torch.zeros_like(c) for c in clips])
        )
    assert saliency.log_odds == pytest.approx(float(odds), abs=1e-5)
    total = sum(float(values.sum()) for values in saliency.integrated_gradients.values())
    assert total == pytest.approx(float(odds - blank), abs=0.02 * abs(float(odds - blank)))
    assert saliency.completeness_gap < 0.02


@pytest.mark.parametrize("fusion", list(FUSIONS))
def test_every_fusion_has_a_map_for_each_stream_and_each_network(fusion):
    network, _, saliency = tiny_saliency(fusion)
    assert set(saliency.grad_cam) == set(network.fusion.inputs)
    assert set(saliency.integrated_gradients) == set(network.streams)
    for stream, values in saliency.integrated_gradients.items():
        assert values.shape[:2] == (STREAM_CHANNELS[stream], CLIP_LENGTH)
    assert all(values.any() for values in saliency.integrated_gradients.values())


def test_one_network_of_both_streams_has_one_grad_cam_and_gradients_by_stream():
    _, _, saliency = tiny_saliency("early_concat")
    assert list(saliency.maps) == [
        MapName("appearance", "integrated_gradients"),
        MapName("motion", "integrated_gradients"),
        MapName("joint", "grad_cam"),
    ]
    assert MapName("joint", "grad_cam").title == "both streams, Grad-CAM"


def test_the_gap_is_the_share_that_is_missing():
    _, _, saliency = tiny_saliency("early_concat")
    halves = {s: values / 2 for s, values in saliency.integrated_gradients.items()}
    assert replace(saliency, integrated_gradients=halves).completeness_gap == pytest.approx(
        0.5, abs=0.05
    )


def test_the_network_is_left_as_it_was():
    network = tiny_two_stream("lateral").eval()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    clip = {stream: clips[0] for stream, clips in tiny_clips(1).items()}
    explain_clip(network, clip, 0, **SETTINGS)
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
