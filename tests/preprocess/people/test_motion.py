from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.crop import cut, oversampling_of, smooth_windows
from preprocess.decode import Video, probe
from preprocess.people.motion import find_moving_person
from preprocess.people.track import PersonNotFoundError
from tests.preprocess.films import film, walk, wall, write_video
from tests.preprocess.truth import in_crop, intersection_over_union, read_truth

SIZE = 160
MOVING_ACTIONS = ("run", "walk", "skip", "side", "jump")


def mask_overlaps(video: Video, truth: np.ndarray) -> list[float]:
    """Intersection over union of the mask and the truth in every stored frame."""
    person = find_moving_person(video)
    frames = person.track.frames
    windows = smooth_windows(
        person.track.boxes, frame_rate_hz=25.0, margin=0.15, smoothing_seconds=1.0
    )
    oversampling = oversampling_of(windows, SIZE)
    overlaps = []
    pictures = list(video.pictures())
    for place, (number, window) in enumerate(zip(frames, windows, strict=True)):
        crop = cut(pictures[number], window, SIZE, oversampling)
        mask = person.masks(place, crop[None], window[None])[0]
        assert set(np.unique(mask)) <= {0, 1}
        overlaps.append(intersection_over_union(mask, in_crop(truth[number], window, SIZE)))
    return overlaps


def overlaps_of(path: Path, masks: list[np.ndarray], **settings: object) -> list[float]:
    height, width = masks[0].shape
    write_video(path, film(masks, wall(height, width), **settings))
    overlaps = mask_overlaps(probe(path), np.stack(masks))
    assert len(overlaps) == len(masks)
    return overlaps


def test_simulated_walkers_are_segmented(walkers: Path) -> None:
    overlaps = []
    videos = sorted((walkers / "videos").glob("*.mp4"))
    for video in videos:
        truth = read_truth(walkers / "truth" / f"{video.stem}.npz")
        overlaps += mask_overlaps(probe(video), truth.mask)
    print(f"mask IoU on simulated walkers: mean {np.mean(overlaps):.3f}, min {min(overlaps):.3f}")
    assert len(videos) == 3
    assert np.mean(overlaps) >= 0.85


def test_simulated_walkers_are_boxed(walkers: Path) -> None:
    videos = sorted((walkers / "videos").glob("*.mp4"))
    for video in videos:
        truth = read_truth(walkers / "truth" / f"{video.stem}.npz").box
        track = find_moving_person(probe(video)).track
        seen = truth[track.frames]
        assert np.abs(track.boxes - seen).mean() < 0.03 * (seen[:, 3] - seen[:, 1]).mean()
    assert videos


def test_who_stands_there_at_the_start_is_not_background(tmp_path: Path) -> None:
    overlaps = overlaps_of(tmp_path / "a.mp4", walk(120, 200, 75, standing=20))
    assert min(overlaps) > 0.85


def test_slow_light_is_followed(tmp_path: Path) -> None:
    lights = np.linspace(1.0, 0.6, 60)
    assert min(overlaps_of(tmp_path / "a.mp4", walk(120, 200, 60), lights=lights)) > 0.85


def test_soft_shadow_is_no_body(tmp_path: Path) -> None:
    masks = walk(120, 200, 60)
    shadows = [
        1 - 0.35 * cv2.GaussianBlur(np.roll(mask, 25, axis=1).astype(float), (0, 0), 7)
        for mask in masks
    ]
    assert min(overlaps_of(tmp_path / "a.mp4", masks, shadows=shadows)) > 0.85


def test_noise_is_nobody(tmp_path: Path) -> None:
    empty = [np.zeros((120, 200), np.uint8)] * 40
    video = write_video(tmp_path / "a.mp4", film(empty, wall(120, 200), noise=6.0))
    with pytest.raises(PersonNotFoundError, match="no person found"):
        find_moving_person(probe(video))


def test_mask_ends_where_the_picture_ends(tmp_path: Path) -> None:
    masks = walk(120, 200, 40)
    path = write_video(tmp_path / "a.mp4", film(masks, wall(120, 200)))
    person = find_moving_person(probe(path))
    window = np.array([-100, -100, 220, 220], np.float32)
    picture = next(probe(path).pictures())
    mask = person.masks(0, cut(picture, window, SIZE, 2)[None], window[None])[0]
    assert mask.any()
    assert not mask[:50].any()
    assert not mask[:, :50].any()


@pytest.mark.slow
def test_weizmann_silhouettes_are_segmented(shared_data: Path, tmp_path: Path) -> None:
    overlaps = {}
    with np.load(shared_data / "weizmann" / "silhouettes.npz") as silhouettes:
        names = [n for n in silhouettes.files if n.split("_")[1].rstrip("12") in MOVING_ACTIONS]
        for name in names[::3]:
            masks = np.unpackbits(silhouettes[name], axis=-1, count=180)
            path = write_video(tmp_path / f"{name}.mp4", film(list(masks), wall(144, 180)))
            overlaps[name] = np.mean(mask_overlaps(probe(path), masks))
    print(f"mask IoU on {len(overlaps)} Weizmann films: {np.mean(list(overlaps.values())):.3f}")
    assert len(overlaps) >= 8
    assert min(overlaps.values()) >= 0.9
