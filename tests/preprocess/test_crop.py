import numpy as np
import pytest

from preprocess.crop import cut, oversampling_of, smooth, smooth_windows

SETTINGS = {"frame_rate_hz": 25.0, "margin": 0.15, "smoothing_seconds": 1.0}


def walking_boxes(num_frames: int = 100, jitter_px: float = 0.0) -> np.ndarray:
    """A body that walks at 3 px a frame, bobs, and whose width swings with every step."""
    time = np.arange(num_frames) / 25
    x = 100 + 75 * time
    half_width = 30 + 20 * np.sin(2 * np.pi * 1.9 * time)
    bob = 3 * np.sin(2 * np.pi * 1.9 * time)
    boxes = np.stack([x - half_width, 50 + bob, x + half_width, 250 + 0 * bob], axis=1)
    noise = np.random.default_rng(0).normal(0, jitter_px, boxes.shape)
    return (boxes + noise).astype(np.float32)


def centres(windows: np.ndarray) -> np.ndarray:
    return (windows[:, :2] + windows[:, 2:]) / 2


def test_steady_walk_stays_a_steady_walk() -> None:
    path = np.stack([np.linspace(0, 300, 60), np.full(60, 7.0)], axis=1)
    np.testing.assert_allclose(smooth(path, 25), path, atol=1e-9)


def test_windows_are_square_and_hold_the_body_with_its_margin() -> None:
    boxes = walking_boxes()
    windows = smooth_windows(boxes, **SETTINGS)
    sides = windows[:, 2:] - windows[:, :2]
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], rtol=1e-5)
    room = np.concatenate([boxes[:, :2] - windows[:, :2], windows[:, 2:] - boxes[:, 2:]], axis=1)
    assert room.min() >= 0.14 * 200


def test_windows_move_without_jitter() -> None:
    boxes = walking_boxes(jitter_px=3.0)
    windows = smooth_windows(boxes, **SETTINGS)
    assert np.abs(np.diff(centres(boxes), 2, axis=0)).max() > 5
    assert np.abs(np.diff(centres(windows), 2, axis=0)).max() < 0.3
    side = windows[:, 2] - windows[:, 0]
    assert np.abs(np.diff(side)).max() < 0.005 * side.mean()


def test_one_wrong_box_changes_little() -> None:
    boxes = walking_boxes()
    windows = smooth_windows(boxes, **SETTINGS)
    boxes[50, 3] += 150
    assert np.abs(smooth_windows(boxes, **SETTINGS) - windows).max() < 1


def test_smoothing_does_not_delay() -> None:
    boxes = walking_boxes(jitter_px=2.0)
    there = smooth_windows(boxes, **SETTINGS)
    back = smooth_windows(boxes[::-1], **SETTINGS)[::-1]
    np.testing.assert_allclose(there, back, atol=1e-3)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 10])
def test_short_walks_have_windows(num_frames: int) -> None:
    windows = smooth_windows(walking_boxes(num_frames), **SETTINGS)
    assert windows.shape == (num_frames, 4)
    assert np.isfinite(windows).all()


def test_approaching_body_stays_whole() -> None:
    height = np.linspace(60, 200, 80)
    boxes = np.stack([100 - height / 5, 220 - height, 100 + height / 5, 220 + 0 * height], axis=1)
    windows = smooth_windows(boxes.astype(np.float32), **SETTINGS)
    assert (windows[:, :2] <= boxes[:, :2]).all()
    assert (windows[:, 2:] >= boxes[:, 2:]).all()
    assert np.diff(windows[:, 2] - windows[:, 0]).min() >= -1e-3


def test_whole_picture_is_cut_unchanged() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    window = np.array([0, 0, 32, 32], np.float32)
    np.testing.assert_array_equal(cut(picture, window, 32), picture)


@pytest.mark.parametrize(("side", "oversampling"), [(20.0, 1), (40.0, 1), (100.0, 3)])
def test_cut_samples_between_pixels(side: float, oversampling: int) -> None:
    """On a ramp, every stored pixel must show the ramp's value at its own centre."""
    ramp = np.tile(np.arange(200, dtype=np.float32), (200, 1))
    window = np.array([40.3, 50.7, 40.3 + side, 50.7 + side], np.float32)
    expected = 40.3 + (np.arange(40) + 0.5) * side / 40 - 0.5
    found = cut(ramp, window, 40, oversampling)
    np.testing.assert_allclose(found, np.tile(expected, (40, 1)), atol=0.04)


def test_beyond_the_picture_its_border_is_repeated() -> None:
    picture = np.arange(16, dtype=np.uint8).reshape(4, 4)
    found = cut(picture, np.array([-4, 0, 4, 8], np.float32), 8)
    np.testing.assert_array_equal(found[:4, :4], np.repeat(picture[:, :1], 4, axis=1))
    np.testing.assert_array_equal(found[4:, 4:], np.tile(picture[3], (4, 1)))


def test_shrinking_does_not_alias() -> None:
    board = np.indices((256, 256)).sum(axis=0) % 2 * np.uint8(200)
    window = np.array([3.4, 5.1, 243.4, 245.1], np.float32)
    oversampling = oversampling_of(window[None], 64)
    assert oversampling == 4
    assert np.abs(cut(board.astype(np.uint8), window, 64, oversampling) - 100.0).max() < 30


@pytest.mark.parametrize("oversampling", [1, 2, 3])
@pytest.mark.parametrize("part", [(slice(0, 40), slice(0, 40)), (slice(7, 33), slice(12, 13))])
def test_a_part_is_what_the_whole_has_there(part: tuple[slice, slice], oversampling: int) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 4), np.uint8, endpoint=True)
    window = np.array([10.3, -5.2, 83.1, 67.6], np.float32)
    whole = cut(picture, window, 40, oversampling)[part]
    found = cut(picture, window, 40, oversampling, part=part)
    assert np.abs(found.astype(int) - whole).max() <= 1
