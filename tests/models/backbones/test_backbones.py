"""What every backbone in the table must do."""

import subprocess
import sys
from copy import deepcopy
from itertools import product
from typing import get_args

import jaxtyping
import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from asd_experiments.config import BackboneName
from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.backbones.backbone import NUM_STAGES, scale_channels
from asd_experiments.models.memory_layout import lay_out
from tests.models.backbones.builders import (
    FLEXIBLE,
    build,
    built,
    random_clips,
    stage_maps,
)
from tests.models.gradients import unreached

CLIP_LENGTHS, CHANNELS, SIZES = (8, 16, 32, 64), (2, 3, 5), (64, 96, 112, 224)

every = pytest.mark.parametrize("name", list(BACKBONES))
flexible = pytest.mark.parametrize("name", FLEXIBLE)


def difference(first, second):
    """Relative to the size of the second."""
    return ((first - second).norm() / second.norm()).item()


def test_table_has_every_configured_name_in_its_order():
    assert list(BACKBONES) == list(get_args(BackboneName))


def test_errors_call_a_network_what_the_user_calls_it():
    assert [network.name() for network in BACKBONES.values()] == list(BACKBONES)


def test_importing_the_table_imports_no_library_of_networks():
    code = (
        "import sys, asd_experiments.models.backbones; "
        "print([m for m in ('torchvision', 'pytorchvideo', 'fvcore') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_name_lists_the_choices():
    with pytest.raises(ValueError, match=r"unknown backbone 'c4d'; choose one of: c3d, c3d_gap, "):
        build("c4d")


@every
@pytest.mark.parametrize("in_channels", CHANNELS)
def test_features_and_maps_have_their_shapes(name, in_channels):
    backbone = build(name, in_channels=in_channels).eval()
    clips = random_clips(2, name, in_channels=in_channels)
    with torch.no_grad():
        maps, features = stage_maps(backbone, clips), backbone(clips)
    assert features.shape == (2, backbone.num_features)
    assert features.isfinite().all() and features.std() > 0
    assert len(maps) == NUM_STAGES and {m.ndim for m in maps} == {5}
    shapes = [m.shape for m in maps]
    assert all(shape[0] == 2 for shape in shapes)
    for axis in (2, 3, 4):
        lengths = [shape[axis] for shape in shapes]
        assert lengths == sorted(lengths, reverse=True)


@flexible
@pytest.mark.parametrize("clip_length", [15, 16, 32, 64])
def test_every_clip_length(name, clip_length):
    backbone = build(name, clip_length=clip_length).eval()
    with torch.no_grad():
        features = backbone(random_clips(1, clip_length=clip_length))
    assert features.shape == (1, backbone.num_features) and features.isfinite().all()


@flexible
@pytest.mark.parametrize("size", [65, 96])
def test_every_size(name, size):
    backbone = build(name, clip_length=4, size=size).eval()
    with torch.no_grad():
        features = backbone(random_clips(1, clip_length=4, size=size))
    assert features.shape == (1, backbone.num_features) and features.isfinite().all()


@pytest.mark.slow
@flexible
def test_every_clip_length_with_every_size(name):
    """Shapes alone: a network without weights, which was built for one of the sizes."""
    with torch.device("meta"), torch.no_grad():
        backbone = build(name).eval()
        for clip_length, size in product(CLIP_LENGTHS, SIZES):
            clips = torch.empty(1, 3, clip_length, size, size)
            assert backbone(clips).shape == (1, backbone.num_features)


@pytest.mark.slow
@flexible
@pytest.mark.parametrize(("clip_length", "size"), [(8, 224), (64, 64)])
def test_the_extremes_of_clip_length_and_size(name, clip_length, size):
    clip = {"in_channels": 5, "clip_length": clip_length, "size": size}
    backbone = build(name, **clip).eval()
    with torch.no_grad():
        assert backbone(random_clips(1, **clip)).isfinite().all()


@flexible
def test_clip_too_short(name):
    with pytest.raises(ValueError, match=f"clip_length of {name} must be at least 4, got 3"):
        build(name, clip_length=3)


@flexible
def test_smallest_size_is_taken_and_a_smaller_one_refused(name):
    smallest = BACKBONES[name].min_size
    assert smallest <= 32
    with torch.no_grad():
        features = build(name, size=smallest).eval()(random_clips(1, size=smallest))
    assert features.isfinite().all()
    with pytest.raises(
        ValueError, match=f"size of {name} must be at least {smallest} px .*, got {smallest - 1}"
    ):
        build(name, size=smallest - 1)


@every
def test_width_not_positive(name):
    with pytest.raises(ValueError, match="width must be positive, got 0"):
        build(name, width=0.0)


@every
def test_an_odd_width_can_be_built(name):
    with torch.device("meta"):
        backbone = build(name, width=0.3).eval()
        assert backbone(random_clips(1, name)).shape == (1, backbone.num_features)


@every
def test_width_scales_the_features(name):
    with torch.device("meta"):
        assert build(name, width=0.25).num_features == 2 * build(name, width=0.125).num_features


@every
def test_tiny_width_keeps_eight_channels(name):
    backbone = build(name, width=0.001)
    assert backbone.num_features >= 8
    assert backbone.eval()(random_clips(1, name)).isfinite().all()


@every
def test_same_seed_same_weights(name):
    first, second = build(name).state_dict(), built(name).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@every
def test_shapes_are_known_without_computing(name):
    with torch.no_grad():
        maps = stage_maps(built(name), random_clips(1, name))
    with torch.device("meta"):
        empty = stage_maps(build(name).eval(), random_clips(1, name))
    assert [m.shape for m in empty] == [m.shape for m in maps]


@every
def test_gradient_reaches_every_trainable_parameter(name):
    def loss_of(backbone):
        features = backbone(random_clips(3, name))
        return (features - torch.randn_like(features)).square().mean()

    assert not unreached(lambda seed: build(name, dropout=0.0, seed=seed), loss_of)
    frozen = [n for n, p in built(name).named_parameters() if not p.requires_grad]
    assert len(frozen) == (4 if name == "mvit_v2_s" else 0)


@every
def test_what_is_written_is_read_and_changes_the_features(name):
    backbone = built(name)
    with torch.no_grad():
        before = backbone(random_clips(1, name))
        for number in range(NUM_STAGES):
            state = backbone.start(random_clips(1, name))
            for stage in backbone.stages[: number + 1]:
                state = stage(state)
            maps = backbone.read(state)
            same = _continue(backbone, backbone.write(state, maps), number)
            torch.testing.assert_close(same, before)
            other = maps.flip(3) + 1
            changed = backbone.write(state, other)
            assert torch.equal(backbone.read(changed), other)
            assert not torch.allclose(_continue(backbone, changed, number), before)


@every
def test_clips_of_a_batch_do_not_mix_in_evaluation(name):
    backbone, clips = built(name), random_clips(3, name)
    changed = clips.clone()
    changed[1] += 1
    with torch.no_grad():
        together, after = backbone(clips), backbone(changed)
        alone = torch.cat([backbone(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[[0, 2]], after[[0, 2]])
    assert not torch.allclose(together[1], after[1])


@every
def test_evaluation_repeats_and_leaves_the_clip_untouched(name):
    backbone, clips = built(name), random_clips(2, name)
    before = clips.clone()
    with torch.no_grad():
        assert torch.equal(backbone(clips), backbone(clips))
    assert torch.equal(clips, before)


@every
def test_training_leaves_the_clip_untouched(name):
    clips = random_clips(2, name)
    before = clips.clone()
    deepcopy(built(name)).train()(clips).sum().backward()
    assert torch.equal(clips, before)


@every
def test_dropout_drops_features_in_training_only(name):
    backbone = build(name, dropout=0.9).train()
    # Batch norm's own noise is put aside: only dropout tells the two modes apart.
    for layer in backbone.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()
    clips = random_clips(4, name)
    with torch.no_grad():
        training = (backbone(clips) == 0).float().mean()
        evaluation = (backbone.eval()(clips) == 0).float().mean()
    assert training > 0.8
    assert evaluation < 0.75


@every
def test_state_survives_a_file(name):
    backbone, clips = built(name), random_clips(1, name)
    other = deepcopy(backbone)
    for parameter in other.parameters():
        nn.init.ones_(parameter)
    other.load_state_dict(load(save(backbone.state_dict())))
    with torch.no_grad():
        assert torch.equal(other(clips), backbone(clips))


@every
def test_bfloat16_is_close(name):
    backbone, clips = built(name), random_clips(2, name)
    with torch.no_grad():
        expected = backbone(clips)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = backbone(clips).float()
    assert difference(features, expected) < 0.05


@every
def test_channels_last_is_the_same(name):
    backbone, clips = deepcopy(built(name)), random_clips(2, name)
    with torch.no_grad():
        expected = backbone(clips)
        lay_out(backbone, channels_last=True)
        assert not all(p.is_contiguous() for p in backbone.parameters())
        features = backbone(clips)
        lay_out(backbone, channels_last=False)
        assert all(p.is_contiguous() for p in backbone.parameters())
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    assert all(map(torch.equal, backbone.parameters(), built(name).parameters()))


@pytest.fixture
def unchecked_shapes():
    """Run the package without the checks of shapes, which the compiler cannot follow."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("c3d_gap", "aot_eager"),
        *(
            pytest.param(name, backend, marks=pytest.mark.slow)
            for name, backend in {
                "c3d_gap": "inductor",
                "r2plus1d_18": "aot_eager",
                "x3d_s": "aot_eager",
                "cnn_lstm": "aot_eager",
            }.items()
        ),
    ],
)
def test_compiled_is_the_same(name, backend):
    backbone, clips = built(name), random_clips(2, name)
    torch.compiler.reset()
    compiled = torch.compile(backbone, backend=backend)
    with torch.no_grad():
        torch.testing.assert_close(compiled(clips), backbone(clips), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "width", "multiple_of", "scaled"),
    [
        (45, 1.0, 1, 45),
        (45, 0.5, 1, 22),
        (45, 0.125, 1, 8),
        (64, 0.125, 1, 8),
        (64, 2.0, 1, 128),
        (64, 1.0, 8, 64),
        (64, 0.3, 8, 16),
        (64, 0.125, 8, 8),
        (64, 0.01, 8, 8),
    ],
)
def test_scaled_channels(channels, width, multiple_of, scaled):
    assert scale_channels(channels, width, multiple_of=multiple_of) == scaled


def _continue(backbone, state, number):
    for stage in backbone.stages[number + 1 :]:
        state = stage(state)
    return backbone.features(state)
