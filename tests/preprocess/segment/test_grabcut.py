from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.crop import cut, oversampling_of, smooth_windows
from preprocess.decode import probe
from preprocess.people.motion import find_moving_person
from preprocess.segment.grabcut import segment_by_colour, segment_crops
from tests.preprocess.truth import in_crop, intersection_over_union, read_truth

SIZE = 112


def test_what_other_code_drew_at_random_does_not_matter() -> None:
    crop = np.random.default_rng(0).integers(0, 255, (1, 40, 40, 3), dtype=np.uint8)
    reach = [(slice(8, 32), slice(12, 28))]
    cv2.setRNGSeed(5)
    first = segment_crops(crop, reach)
    cv2.setRNGSeed(77)
    np.testing.assert_array_equal(segment_crops(crop, reach), first)


@pytest.mark.parametrize(("reach", "share"), [(slice(0, 32), 1.0), (slice(32, 32), 0.0)])
def test_a_box_that_leaves_nothing_to_tell_apart_is_the_mask(reach: slice, share: float) -> None:
    crop = np.full((1, 32, 32, 3), 90, np.uint8)
    assert segment_crops(crop, [(reach, reach)]).mean() == share


def test_a_body_in_the_colours_of_its_surroundings_is_its_trunk_at_least() -> None:
    crop = np.full((1, 40, 40, 3), 90, np.uint8)
    mask = segment_crops(crop, [(slice(4, 36), slice(12, 28))])[0]
    assert mask[14:20, 19:21].all()
    assert not mask[:, :12].any() and not mask[:4].any()


@pytest.mark.slow
def test_simulated_walkers_are_segmented(walkers: Path) -> None:
    overlaps = []
    for path in sorted((walkers / "videos").glob("*.mp4")):
        video = probe(path)
        truth = read_truth(walkers / "truth" / f"{path.stem}.npz")
        person = segment_by_colour(video, find_moving_person(video).track)
        track = person.track
        windows = smooth_windows(
            track.boxes, frame_rate_hz=25.0, margin=0.15, smoothing_seconds=1.0
        )
        oversampling = oversampling_of(windows, SIZE)
        pictures = list(video.pictures())
        for place in range(0, len(track.frames), 5):
            number, window = track.frames[place], windows[place]
            crop = cut(pictures[number], window, SIZE, oversampling)
            mask = person.masks(place, crop[None], window[None])[0]
            overlaps.append(
                intersection_over_union(mask, in_crop(truth.mask[number], window, SIZE))
            )
    print(
        f"GrabCut on simulated walkers: IoU mean {np.mean(overlaps):.3f}, min {min(overlaps):.3f}"
    )
    assert len(overlaps) >= 25
    assert np.mean(overlaps) > 0.8
