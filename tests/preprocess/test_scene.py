import numpy as np
import pytest

from preprocess.scene import light_change, steadiest


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
