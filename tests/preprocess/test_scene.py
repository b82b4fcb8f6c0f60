import cv2
import numpy as np
import pytest

from preprocess.scene import Light, Scene, light_change, steadiest

_SAME_LIGHT: Light = np.float32([[1] * 3, [0] * 3])


def test_steadiest_value_wins_against_more_frequent_ones() -> None:
    samples = np.array([90] * 10 + list(range(150, 250, 9)), np.uint8)
    picture, spread = steadiest(np.tile(samples[:, None, None, None], (1, 1, 2, 3)))
    assert (picture == 90).all()
    assert (spread == 0).all()


@pytest.mark.parametrize("num_samples", [1, 2, 3, 7, 16, 29, 30, 32])
def test_steadiest_is_the_narrowest_range_of_the_sorted_samples(num_samples: int) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (num_samples, 4, 5, 3), dtype=np.uint8)
    picture, spread = steadiest(samples)
    reach = max(1, int(0.45 * num_samples))
    ordered = np.sort(samples.astype(int), axis=0)
    widths = ordered[reach:] - ordered[:-reach] if num_samples > reach else 0 * ordered[:1]
    np.testing.assert_array_equal(spread, widths.min(axis=0))
    low = np.take_along_axis(ordered, widths.argmin(axis=0)[None], axis=0)[0]
    np.testing.assert_allclose(picture, low + widths.min(axis=0) / 2)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (0.7, 0.0), (1.2, -15.0), (0.8, 20.0)])
def test_light_is_found_whoever_stands_there(gain: float, offset: float) -> None:
    scene = np.random.default_rng(1).integers(40, 180, (96, 160, 3)).astype(np.uint8)
    picture = np.rint(gain * scene + offset).clip(0, 255).astype(np.uint8)
    picture[20:90, 50:90] = (10, 90, 30)
    found = light_change(picture, scene)
    np.testing.assert_allclose(found[0], gain, atol=0.02)
    np.testing.assert_allclose(found[1], offset, atol=2)


def test_a_silhouette_does_not_depend_on_surroundings_far_from_it() -> None:
    """A body with a gap and a shadow, beside the border, in ever more of the same scene."""
    texture = np.random.default_rng(2).integers(90, 160, (240, 320, 3), dtype=np.uint8)
    scene = cv2.GaussianBlur(texture, (9, 9), 0)
    dimmed = np.ones((240, 320, 1), np.float32)
    dimmed[120:150, 10:60] = 0.6
    picture = (scene * cv2.GaussianBlur(dimmed, (0, 0), 7)[..., None]).round().astype(np.uint8)
    picture[20:100, 10:40] = (30, 20, 60)
    picture[50:70, 20:30] = scene[50:70, 20:30]
    whole, part = (
        Scene(np.dstack([s, np.full(s.shape[:2], 14, np.uint8)]), 240 * 320).silhouette(
            p, _SAME_LIGHT
        )
        for s, p in ((scene, picture), (scene[:180, :120], picture[:180, :120]))
    )
    np.testing.assert_allclose(part, whole[:180, :120], rtol=1e-5)
    assert whole[80, 25] and not whole[60, 25] and not whole[135, 30]
    assert not whole[180:].any() and not whole[:, 120:].any()


@pytest.mark.parametrize("shape", [(216, 3), (3, 216), (216, 216)])
@pytest.mark.parametrize("corner", [slice(0, 1), slice(-1, None)])
def test_a_single_pixel_makes_no_body_of_a_narrow_picture(
    shape: tuple[int, int], corner: slice
) -> None:
    scene = np.full((*shape, 4), 100, np.uint8)
    scene[..., 3] = 14
    picture = scene[..., :3].copy()
    picture[corner, corner] = 0
    silhouette = Scene(scene, 224 * 224).silhouette(picture, _SAME_LIGHT)
    assert np.count_nonzero(silhouette) <= 4
