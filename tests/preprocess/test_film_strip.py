import cv2
import numpy as np

from asd_experiments.data.store import ClipStore
from preprocess.film_strip import (
    colour_wheel,
    film_strip,
    flow_colours,
    outlined,
    spread_frames,
    webp,
)
from preprocess.heads import without_faces

YELLOW = (255, 220, 0)


def test_strip_shows_crops_above_their_flow(small_store: ClipStore) -> None:
    key = small_store.videos["key"].iloc[0]
    strip = film_strip(small_store, key, [0, 5, 9], 64, faces=True)
    assert strip.shape == (128, 3 * 64, 3)
    frames = small_store.read(key, 5, 7)
    crop, motion = strip[:64, 64:128], strip[64:, 64:128]
    np.testing.assert_array_equal(crop, outlined(frames.rgb[0], frames.mask[0], 64))
    assert (motion[8:12, 8:12] == 0).all()  # the surroundings of the square rest
    body = cv2.resize(frames.mask[0], (64, 64), interpolation=cv2.INTER_NEAREST) == 1
    assert motion[body].max() > 100


def test_strip_shows_no_face_unless_it_is_asked_for(small_store: ClipStore) -> None:
    key = small_store.videos["key"].iloc[0]
    frames = small_store.read(key, 5, 7)
    hidden = outlined(without_faces(frames.rgb[0], frames.mask[0]), frames.mask[0], 64)
    np.testing.assert_array_equal(film_strip(small_store, key, [5], 64)[:64], hidden)


def test_frames_are_spread_and_leave_out_the_last_of_every_stretch() -> None:
    assert spread_frames([slice(0, 3), slice(3, 6)], 8) == [0, 1, 3, 4]
    assert spread_frames([slice(0, 101)], 3) == [0, 50, 99]


def test_outline_lies_on_the_mask() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    picture = outlined(np.full((20, 20, 3), 90, np.uint8), mask, 20)
    yellow = (picture == YELLOW).all(axis=2)
    assert yellow[5, 5:15].all() and yellow[5:15, 14].all()
    assert not yellow[6:14, 6:14].any() and not yellow[mask == 0].any()
    assert (picture[9, 9] == 90).all()


def test_still_picture_is_black_and_directions_differ() -> None:
    flow = np.zeros((2, 2, 2), np.float32)
    flow[0, 0], flow[0, 1] = (8, 0), (-8, 0)
    colours = flow_colours(flow, 8.0)
    assert (colours[1] == 0).all()
    np.testing.assert_array_equal(colours[0], [(255, 0, 0), (0, 255, 255)])
    assert flow_colours(flow, 16.0)[0, 0].tolist() == [127, 0, 0]


def test_wheel_shows_the_colours_of_flow() -> None:
    wheel = colour_wheel(97)
    down = flow_colours(np.array([[[0, 1]]], np.float32), 1.0)[0, 0]
    np.testing.assert_array_equal(wheel[96, 48], down)
    assert (wheel[48, 48] == 0).all() and (wheel[0, 0] == 0).all()


def test_webp_keeps_the_colours_in_order() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    back = cv2.imdecode(np.frombuffer(webp(red), np.uint8), cv2.IMREAD_COLOR)
    assert back[8, 8, 2] > 150 and back[8, 8, 0] < 50  # OpenCV reads BGR
