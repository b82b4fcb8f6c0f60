import numpy as np

from asd_experiments.data.store import ClipStore
from preprocess.contact_sheet import contact_sheet, flow_colours, outlined


def test_sheet_shows_crops_masks_and_flow(small_store: ClipStore) -> None:
    sheet = contact_sheet(small_store, small_store.videos["key"].iloc[0], columns=5)
    assert sheet.shape == (3 * small_store.size, 5 * small_store.size, 3)
    assert sheet.dtype == np.uint8
    masks = sheet[small_store.size : 2 * small_store.size]
    assert set(np.unique(masks)) == {0, 255}


def test_outline_lies_on_the_mask() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    green = (outlined(np.zeros((20, 20, 3), np.uint8), mask) == (0, 255, 0)).all(axis=2)
    assert green[5, 5:15].all()
    assert not green[6:14, 6:14].any()
    assert not green[mask == 0].any()


def test_still_picture_is_black_and_directions_differ() -> None:
    flow = np.zeros((2, 2, 2), np.float32)
    flow[0, 0], flow[0, 1] = (8, 0), (-8, 0)
    colours = flow_colours(flow)
    assert (colours[1] == 0).all()
    np.testing.assert_array_equal(colours[0], [(255, 0, 0), (0, 255, 255)])
