import numpy as np
import pytest
import torch

from asd_experiments.data.store import StoredFrames
from asd_experiments.data.transforms import (
    FULL_MOTION,
    Augmentation,
    draw_augmentation,
    flip_flow,
    make_clip,
)
from asd_experiments.normalisation import Normalisation


def frames(num: int = 8, size: int = 64, seed: int = 0) -> StoredFrames:
    rng = np.random.default_rng(seed)
    mask = np.zeros((num, size, size), dtype=np.uint8)
    mask[:, 10:50, 20:44] = 1
    return StoredFrames(
        rng.integers(0, 256, (num, size, size, 3), dtype=np.uint8),
        mask,
        rng.normal(size=(num - 1, size, size, 2)).astype(np.float32),
    )


def clip(source: StoredFrames, **changes: object):
    settings = {"clip_length": 8, "size": 64, "segmentation": False, **changes}
    return make_clip(source, **settings)


def test_a_flip_negates_x_and_leaves_y():
    flow = torch.zeros(2, 1, 4, 4)
    flow[0, 0, 0, 0], flow[1, 0, 0, 0] = 3.0, 5.0
    flipped = flip_flow(flow)
    assert flipped[0, 0, 0, 3] == -3.0 and flipped[1, 0, 0, 3] == 5.0
    assert flipped.abs().sum() == 8.0


def test_a_flipped_clip_is_the_clip_of_the_mirrored_walk():
    """Mirroring the pictures makes what moved right move left; both streams must agree."""
    source = frames()
    mirrored = StoredFrames(
        source.rgb[:, :, ::-1].copy(),
        source.mask[:, :, ::-1].copy(),
        (source.flow[:, :, ::-1] * np.array([-1, 1], dtype=np.float32)).copy(),
    )
    flipped = clip(source, segmentation=True, augmentation=Augmentation(flip=True))
    expected = clip(mirrored, segmentation=True)
    assert torch.equal(flipped.appearance, expected.appearance)
    assert torch.equal(flipped.motion, expected.motion)


def test_motion_is_a_share_of_the_frame_whatever_the_input_size():
    source = frames()._replace(flow=np.full((7, 64, 64, 2), 64 * FULL_MOTION, dtype=np.float32))
    for size in (32, 64, 112):
        assert torch.allclose(clip(source, size=size).motion, torch.tensor(1.0), atol=1e-5)


def test_cutting_out_magnifies_motion():
    source = frames()._replace(flow=np.full((7, 64, 64, 2), 64 * FULL_MOTION, dtype=np.float32))
    half = clip(source, augmentation=Augmentation(side=0.5, left=0.25, top=0.25))
    assert torch.allclose(half.motion, torch.tensor(2.0), atol=1e-5)


def test_both_streams_are_cut_at_the_same_place():
    source = frames()
    source.rgb[:] = 0
    source.rgb[:, 40, 30] = 255
    source.flow[:] = 0
    source.flow[:, 40, 30] = 10
    cut = clip(source, size=32, augmentation=Augmentation(side=0.5, left=0.4, top=0.5))
    bright = cut.appearance[0, 0].flatten().argmax()
    assert bright == cut.motion[0, 0].flatten().argmax()


def test_segmentation_blanks_the_background_of_both_streams_and_nothing_else():
    source = frames()
    outside = torch.from_numpy(source.mask == 0)
    blanked, whole = clip(source, segmentation=True), clip(source)
    assert (blanked.appearance[:, outside] == 0).all()
    assert (blanked.motion[:, :7][:, outside[:7]] == 0).all()
    assert torch.equal(blanked.appearance[:, ~outside], whole.appearance[:, ~outside])
    assert (whole.appearance[:, outside] != 0).any()


def test_the_last_flow_is_repeated():
    made = clip(frames())
    assert made.motion.shape == (2, 8, 64, 64)
    assert torch.equal(made.motion[:, 7], made.motion[:, 6])


def test_a_short_video_holds_its_last_frame_and_does_not_move():
    made = clip(frames(num=5))
    assert made.appearance.shape == (3, 8, 64, 64)
    assert torch.equal(made.appearance[:, 7], made.appearance[:, 4])
    assert (made.motion[:, 4:] == 0).all() and (made.motion[:, 3] != 0).any()


def test_brightness_changes_appearance_only():
    source = frames()
    source.rgb[:] = 100
    bright, plain = clip(source, augmentation=Augmentation(brightness=1.2)), clip(source)
    assert torch.allclose(bright.appearance, torch.tensor((120 / 255 - 0.45) / 0.225))
    assert torch.equal(bright.motion, plain.motion)


def test_drawn_augmentations_stay_inside_the_frame_and_follow_the_seed():
    drawn = [draw_augmentation(seed) for seed in range(500)]
    assert all(0 <= a.left <= 1 - a.side and 0 <= a.top <= 1 - a.side for a in drawn)
    assert all(0.85 <= a.side <= 1 and 0.8 <= a.brightness <= 1.2 for a in drawn)
    assert 0.4 < np.mean([a.flip for a in drawn]) < 0.6
    assert draw_augmentation(3) == drawn[3]


def test_normalisation_is_by_colour():
    source = frames()
    source.rgb[:] = (51, 102, 204)  # 0.2, 0.4 and 0.8 of the brightest
    scale = Normalisation(mean=(0.1, 0.2, 0.3), std=(0.5, 0.1, 0.25))
    made = clip(source, normalisation=scale).appearance[:, 0, 0, 0]
    assert made.tolist() == pytest.approx([0.2, 2.0, 2.0])
