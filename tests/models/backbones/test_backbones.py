"""What every backbone in the table must do."""

from typing import get_args

import pytest
import torch
from torch import nn

from asd_experiments.config import BackboneName
from asd_experiments.models.backbones import BACKBONES, build_backbone
from asd_experiments.models.backbones.backbone import Backbone, scale_channels


def build(name, *, in_channels=3, clip_length=8, size=32, width=0.125, dropout=0.5) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(
        name,
        in_channels=in_channels,
        clip_length=clip_length,
        size=size,
        width=width,
        dropout=dropout,
    )


def random_clips(number, *, in_channels=3, clip_length=8, size=32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(number, in_channels, clip_length, size, size, generator=generator)


@pytest.fixture(params=list(BACKBONES))
def name(request):
    return request.param


def test_table_has_every_configured_name():
    assert set(BACKBONES) == set(get_args(BackboneName))


def test_unknown_name_lists_the_choices():
    with pytest.raises(
        ValueError,
        match="unknown backbone 'c4d'; choose one of: c3d, r2plus1d_18, slowfast_50, slow_50",
    ):
        build("c4d")


@pytest.mark.parametrize(
    ("clip_length", "in_channels"), [(4, 3), (8, 2), (8, 5), (16, 3), (32, 2), (64, 3)]
)
def test_features_at_every_clip_length(name, clip_length, in_channels):
    backbone = build(name, in_channels=in_channels, clip_length=clip_length).eval()
    with torch.no_grad():
        features = backbone(random_clips(1, in_channels=in_channels, clip_length=clip_length))
    assert features.shape == (1, backbone.num_features)
    assert features.isfinite().all()
    assert features.std() > 0


@pytest.mark.parametrize("clip_length", [6, 15])
def test_features_at_clip_lengths_that_do_not_halve(name, clip_length):
    backbone = build(name, clip_length=clip_length).eval()
    with torch.no_grad():
        features = backbone(random_clips(1, clip_length=clip_length))
    assert features.shape == (1, backbone.num_features)


@pytest.mark.parametrize("size", [33, 64, 96, 112, 224])
def test_features_at_every_size(name, size):
    backbone = build(name, clip_length=4, size=size).eval()
    with torch.no_grad():
        features = backbone(random_clips(1, clip_length=4, size=size))
    assert features.shape == (1, backbone.num_features)


def test_clip_too_short(name):
    with pytest.raises(ValueError, match=r"clip_length of \w+ must be at least 4, got 3"):
        build(name, clip_length=3)


def test_smallest_size_is_taken_and_a_smaller_one_refused(name):
    smallest = BACKBONES[name].min_size
    assert smallest <= 32
    with torch.no_grad():
        features = build(name, size=smallest).eval()(random_clips(1, size=smallest))
    assert features.isfinite().all()
    with pytest.raises(ValueError, match=rf"must be at least {smallest} px .*, got {smallest - 1}"):
        build(name, size=smallest - 1)


def test_width_not_positive(name):
    with pytest.raises(ValueError, match="width must be positive, got 0"):
        build(name, width=0.0)


def test_width_scales_the_features(name):
    assert build(name, width=0.25).num_features == 2 * build(name, width=0.125).num_features


def test_tiny_width_keeps_eight_channels(name):
    backbone = build(name, width=0.001)
    assert backbone.num_features >= 8
    assert backbone.eval()(random_clips(1)).isfinite().all()


def test_same_seed_same_weights(name):
    first, second = build(name).state_dict(), build(name).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_clips_of_a_batch_do_not_mix_in_evaluation(name):
    backbone = build(name).eval()
    clips = random_clips(3)
    changed = clips.clone()
    changed[1] += 1
    with torch.no_grad():
        together, after = backbone(clips), backbone(changed)
        alone = torch.cat([backbone(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together[[0, 2]], after[[0, 2]])
    assert not torch.allclose(together[1], after[1])


def test_evaluation_repeats_and_leaves_the_clip_untouched(name):
    backbone = build(name).eval()
    clips = random_clips(2)
    before = clips.clone()
    with torch.no_grad():
        assert torch.equal(backbone(clips), backbone(clips))
    assert torch.equal(clips, before)


def test_training_leaves_the_clip_untouched(name):
    clips = random_clips(2)
    before = clips.clone()
    build(name).train()(clips).sum().backward()
    assert torch.equal(clips, before)


def test_dropout_drops_features_in_training_only(name):
    backbone = build(name, dropout=0.9).train()
    # Batch norm's own noise is put aside: only dropout tells the two modes apart.
    for layer in backbone.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.eval()
    clips = random_clips(4)
    with torch.no_grad():
        training = (backbone(clips) == 0).float().mean()
        evaluation = (backbone.eval()(clips) == 0).float().mean()
    assert training > 0.8
    assert evaluation < 0.75


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


@pytest.mark.parametrize(
    ("name", "num_classes", "parameters"),
    [
        ("c3d", 2, 78_003_970),
        ("r2plus1d_18", 400, 31_505_325),
        ("slowfast_50", 400, 34_566_488),
        ("slow_50", 400, 32_454_096),
    ],
)
def test_published_number_of_parameters(name, num_classes, parameters):
    """Tran 2015 (2 classes), torchvision's metadata and pytorchvideo's model zoo: 78.00 M,
    31.51 M, 34.57 M and 32.45 M."""
    with torch.device("meta"):
        backbone = build(name, clip_length=16, size=112, width=1.0)
        classifier = nn.Linear(backbone.num_features, num_classes)
    total = sum(p.numel() for layer in (backbone, classifier) for p in layer.parameters())
    assert total == parameters
