"""Two-stream models: every backbone with every fusion.

What a fusion does is tested with a tiny backbone beside it; here it meets the real ones.
"""

import pytest
import torch
from safetensors.torch import load, save
from torch.nn.functional import cross_entropy

from asd_experiments.models.backbones import BACKBONES, build_backbone
from asd_experiments.models.fusion import FUSIONS, MapShape, NetworkShape, build_fusion
from asd_experiments.models.two_stream import (
    TwoStream,
    _shape_of,
    build_two_stream,
    check_two_stream,
    network_shape,
)
from tests.models.builders import small_clips, small_two_stream
from tests.models.gradients import unreached
from tests.models.tiny import tiny_clips, tiny_two_stream

# C3D takes 16 frames of 112 pixels alone; its convolutions are tested as c3d_gap.
SMALL = [name for name in BACKBONES if name != "c3d"]
backbones = pytest.mark.parametrize("backbone", SMALL)
fusions = pytest.mark.parametrize("fusion", list(FUSIONS))
UNLIKE = ("c3d_gap", "r2plus1d_18", "slowfast_50", "x3d_s", "mvit_v2_s", "resnet2d_50")
MIXING = ("early_concat", "conv_fusion", "squeeze_excite", "lateral", "cross_attention")
pairs = pytest.mark.parametrize(
    ("backbone", "fusion"),
    [
        *(("slow_50", fusion) for fusion in FUSIONS),
        *((backbone, "late_average") for backbone in SMALL if backbone != "slow_50"),
        # The others see nothing of a backbone but its features.
        *(
            pytest.param(backbone, fusion, marks=pytest.mark.slow)
            for backbone in UNLIKE
            for fusion in MIXING
        ),
    ],
)


def loss_of(model, clips, labels):
    scores = model(*clips)
    return sum(cross_entropy(own, labels) for own in model.fusion.trained(scores))


def is_refused(backbone, fusion) -> bool:
    """Whether the fusion cannot join two such networks, and says so."""
    try:
        with torch.device("meta"):
            small_two_stream(backbone, fusion)
    except ValueError as error:
        return fusion == "lateral" and "looks at one frame at a time" in str(error)
    return False


@pairs
def test_scores_have_one_row_per_clip(backbone, fusion):
    if is_refused(backbone, fusion):
        pytest.skip("a network of single frames")
    model = small_two_stream(backbone, fusion).eval()
    with torch.no_grad():
        for number in (1, 3):
            scores = model.scores_by_stream(*small_clips(number))
            for score in (scores.fused, *(getattr(scores, stream) for stream in model.streams)):
                assert score.shape == (number, 2)
                assert score.isfinite().all()


@fusions
def test_unused_stream_is_neither_built_nor_read(fusion):
    model, clips = tiny_two_stream(fusion).eval(), tiny_clips(2)
    assert set(model.backbones) == set(model.fusion.inputs)
    with torch.no_grad():
        before = model(**clips).fused
        for stream, clip in clips.items():
            changed = model(**(clips | {stream: clip + 1})).fused
            assert torch.equal(before, changed) == (stream not in model.streams)


@pairs
def test_gradient_reaches_every_parameter(backbone, fusion):
    if is_refused(backbone, fusion):
        pytest.skip("a network of single frames")
    clips, labels = small_clips(3), torch.tensor([0, 1, 0])
    assert not unreached(
        lambda seed: small_two_stream(backbone, fusion, seed=seed),
        lambda model: loss_of(model, clips, labels),
    )


@backbones
def test_state_survives_a_file(backbone):
    model = small_two_stream(backbone).train()
    model(*small_clips(2))
    saved = save(model.state_dict())
    with torch.device("meta"):  # where a network has no numbers but those of the file
        other = small_two_stream(backbone)
    other.load_state_dict(load(saved), assign=True)
    with torch.no_grad():
        assert torch.equal(model.eval()(*small_clips(2)).fused, other.eval()(*small_clips(2)).fused)


def test_evaluation_repeats_although_training_drops_features():
    model, clips = small_two_stream(dropout=0.5), small_clips(2)
    with torch.no_grad():
        assert torch.equal(model.eval()(*clips).fused, model(*clips).fused)
        assert not torch.equal(model.train()(*clips).fused, model(*clips).fused)


def test_streams_share_no_weights():
    model = small_two_stream()
    first, second = (model.backbones[s].state_dict() for s in ("appearance", "motion"))
    assert not {t.data_ptr() for t in first.values()} & {t.data_ptr() for t in second.values()}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": "c4d"}, "unknown backbone 'c4d'; choose one of: c3d.* did you mean 'c3d'"),
        ({"fusion": "gatd"}, "unknown fusion 'gatd'; choose one of: appear.* did you mean 'gated'"),
        ({"clip_length": 2}, "clip_length of slow_50 must be at least 4, got 2"),
        ({"size": 24}, r"size of slow_50 must be at least 32 px \(its total stride\), got 24"),
    ],
)
def test_wrong_parts_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        small_two_stream(**wrong)


def test_a_motion_backbone_that_no_network_could_be_is_refused():
    with pytest.raises(
        ValueError,
        match="early_concat has no network for the motion stream alone, so motion_backbone must "
        "be left open or be slow_50, got 'c3d'",
    ):
        small_two_stream(fusion="early_concat", motion_backbone="c3d")
    with torch.device("meta"):
        small_two_stream(fusion="early_concat", motion_backbone="slow_50")


@pytest.mark.parametrize(
    "wrong",
    [
        {"backbone": "c4d"},
        {"fusion": "gatd"},
        {"clip_length": 2},
        {"backbone": "c3d"},
        {"fusion": "lateral", "backbone": "resnet2d_50"},
        {"fusion": "conv_fusion", "motion_backbone": "c3d_gap"},
        {"fusion": "feature_sum", "motion_backbone": "c3d_gap"},
        {"fusion": "appearance_only", "motion_backbone": "c3d_gap"},
    ],
)
def test_what_cannot_be_built_is_refused_without_building(wrong):
    network = {"backbone": "slow_50", "fusion": "late_average", "clip_length": 8, "size": 32}
    with pytest.raises(ValueError, match=r"\w") as built, torch.device("meta"):
        build_two_stream(**(network | wrong), num_classes=2, width=0.125, dropout=0.0)
    with pytest.raises(ValueError, match=r"\w") as checked:
        check_two_stream(**(network | wrong), width=0.125)
    assert str(checked.value) == str(built.value)
    check_two_stream(**network, width=0.125)


@backbones
def test_maps_have_the_same_shape_whichever_stream_is_seen(backbone):
    shape = network_shape(backbone, clip_length=8, size=32, width=0.125)
    with torch.device("meta"), torch.no_grad():
        clip = torch.empty(1, 5, 8, 32, 32)
        network = build_backbone(
            backbone, in_channels=5, clip_length=8, size=32, width=0.125, dropout=0.5
        ).eval()
        state, maps = network.start(clip), []
        for stage in network.stages:
            state = stage(state)
            maps.append(MapShape(*network.read(state).shape[1:]))
    assert (shape.num_features, shape.maps) == (network.num_features, tuple(maps))


def test_weights_are_the_same_whether_or_not_shapes_are_known():
    _shape_of.cache_clear()
    first, second = small_two_stream().state_dict(), small_two_stream().state_dict()
    assert _shape_of.cache_info().hits
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_backbones_must_be_those_of_the_fusion():
    backbone = build_backbone(
        "slow_50", in_channels=3, clip_length=8, size=32, width=0.125, dropout=0.5
    )
    shape = NetworkShape("slow_50", 8, maps=(), per_frame=False)
    fusion = build_fusion(
        "late_average", networks={"appearance": shape, "motion": shape}, num_classes=2
    )
    with pytest.raises(ValueError, match="needs backbones for appearance, motion; got: appearance"):
        TwoStream({"appearance": backbone}, fusion)


@pytest.mark.parametrize(
    ("backbone", "fusion"),
    [
        *(
            pytest.param(name, "late_average", marks=pytest.mark.slow)
            for name in UNLIKE
            if name != "x3d_s"  # takes three times as long as any other
        ),
        *(
            pytest.param("slow_50", name, marks=pytest.mark.slow)
            for name in ("conv_fusion", "lateral", "late_separate")
        ),
    ],
)
def test_four_clips_are_learned_by_heart(backbone, fusion):
    model = small_two_stream(backbone, fusion)
    clips, labels = small_clips(4), torch.tensor([0, 1, 1, 0])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(200):
        optimiser.zero_grad()
        loss_of(model.train(), clips, labels).backward()
        optimiser.step()
        with torch.no_grad():
            loss = cross_entropy(model(*clips).fused, labels)
        if loss < 0.05:
            break
    assert loss < 0.05
    with torch.no_grad():
        for _ in range(20):  # lets batch norm's running averages reach the final weights
            model(*clips)
        assert torch.equal(model.eval()(*clips).fused.argmax(dim=1), labels)
