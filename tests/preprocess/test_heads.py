import numpy as np
import pytest

from preprocess.heads import without_faces


def body(top: int, bottom: int) -> np.ndarray:
    mask = np.zeros((100, 100), np.uint8)
    mask[top:bottom, 40:60] = 1
    return mask


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("mask", "end"),
    [
        (body(10, 90), 45),  # never less than the upper part of the crop
        (body(30, 90), 54),  # two fifths of the body
        (body(60, 90), 72),  # the legs alone: the head is above them
        (body(0, 0), 100),  # nobody: anywhere
    ],
)
def test_everything_as_high_as_the_head_is_pixelated(mask, end):
    picture = noise()
    shown = without_faces(picture, mask)
    assert shown.shape == picture.shape and shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[end:], picture[end:])
    assert len(np.unique(shown[:end].reshape(-1, 3), axis=0)) <= 12 * 12
    assert shown[:end].std() < picture[:end].std() / 4
    assert (shown[end - 1] != picture[end - 1]).any(axis=1).mean() > 0.9


def test_a_face_is_no_larger_than_a_square():
    """Of what is a tenth of the crop, its mean colour is left at the most."""
    left, right = np.zeros((2, 120, 120, 3), np.uint8)
    left[20:30, 50:60] = (np.indices((10, 10)).sum(axis=0) % 2 * 200)[..., None]
    right[20:30, 50:60] = (np.indices((10, 10)).sum(axis=0) % 2 * 200)[:, ::-1, None]
    mask = np.zeros((120, 120), np.uint8)
    mask[15:110, 45:65] = 1
    np.testing.assert_array_equal(without_faces(left, mask), without_faces(right, mask))
    assert (left != right).any()
