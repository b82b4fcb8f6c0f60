import numpy as np
import pytest

from asd_experiments.explanation.body import PARTS, body_coverage, coverage_by_source, shares


def standing(size=60, top=6, height=48, frames=4):
    """A body of 12 px width that moves 3 px a frame."""
    masks = np.zeros((frames, size, size), np.uint8)
    for frame in range(frames):
        masks[frame, top : top + height, 20 + 3 * frame : 32 + 3 * frame] = 1
    return masks


@pytest.mark.parametrize("size", [60, 48, 112])
def test_a_map_without_preference_has_the_share_of_the_area(size):
    coverage = body_coverage(standing(), clip_length=4, size=size)
    for share in shares(np.full((4, size, size), 0.3), coverage).values():
        assert share.saliency == pytest.approx(share.area)
    body = shares(np.ones((4, size, size)), coverage)["body"]
    assert body.area == pytest.approx(48 * 12 / 60**2, rel=0.01)


def test_the_thirds_are_those_of_the_height_and_add_up():
    coverage = body_coverage(standing(), clip_length=4, size=60)
    rows = {part: np.flatnonzero(coverage[part][0].any(axis=1)) for part in PARTS}
    assert [(r[0], r[-1]) for r in rows.values()] == [(6, 21), (22, 37), (38, 53)]
    for size in (60, 37):
        fine = body_coverage(standing(), clip_length=4, size=size)
        np.testing.assert_allclose(sum(fine[part] for part in PARTS), fine["body"], atol=1e-6)
        assert fine["body"].max() == pytest.approx(1)


def test_a_map_on_the_legs_alone_is_told_so():
    values = np.zeros((4, 60, 60))
    values[0, 50, 20:24] = 2.0
    values[0, 0, 0:4] = 2.0  # above the body
    found = shares(values, body_coverage(standing(), clip_length=4, size=60))
    assert found["legs"].saliency == pytest.approx(0.5) == found["body"].saliency
    assert found["trunk"].saliency == found["head_and_shoulders"].saliency == 0
    assert found["legs"].area == pytest.approx(16 * 12 / 60**2)


def test_a_frame_without_a_body_has_none():
    masks = standing()
    masks[2] = 0
    coverage = body_coverage(masks, clip_length=4, size=60)
    assert [bool(coverage["body"][frame].any()) for frame in range(4)] == [True, True, False, True]


def test_a_map_of_zeros_has_no_share():
    coverage = body_coverage(standing(), clip_length=4, size=60)
    body = shares(np.zeros((4, 60, 60)), coverage)["body"]
    assert np.isnan(body.saliency) and body.area > 0


def test_motion_has_the_masks_of_the_frames_that_it_leads_from():
    """The last flow is repeated, and so is its mask; a short clip holds its last frame."""
    coverage = coverage_by_source(standing(), clip_length=6, size=60)
    left = {
        source: [int(np.flatnonzero(frame.any(axis=0))[0]) for frame in regions["body"]]
        for source, regions in coverage.items()
    }
    assert left["appearance"] == left["joint"] == [20, 23, 26, 29, 29, 29]
    assert left["motion"] == [20, 23, 26, 26, 26, 26]
