"""Real walks, judged by an independent detector."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import zarr

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.store_layout import Presence, video_key
from asd_experiments.data.store_writer import StoreWriter
from preprocess.decode import probe
from preprocess.people.motion import find_moving_person
from preprocess.pipeline import Preprocessor
from tests.preprocess.yolox import Yolox

TOLERANCE = 0.02  # of the box's height


def holds(window: np.ndarray, box: np.ndarray) -> bool:
    room = TOLERANCE * (box[3] - box[1])
    return bool((box[:2] >= window[:2] - room).all() and (box[2:] <= window[2:] + room).all())


@pytest.mark.slow
def test_crops_of_real_walks_hold_the_whole_body(shared_data: Path) -> None:
    yolox = Yolox(shared_data / "weights" / "yolox_nano.onnx")
    videos = sorted((shared_data / "gpjatk").glob("*.mp4"))
    assert len(videos) == 20
    shares, whole = [], []
    for video in videos:
        preprocessor = Preprocessor(PreprocessConfig("-", "-", size=112).recipe)
        memory = zarr.storage.MemoryStore()
        writer = StoreWriter(memory, preprocessor.recipe, preprocessor.backends)
        facts = preprocessor.store_video(video, writer)
        shares.append(facts.person_share)
        assert len(facts.stretches) == 1
        track = zarr.open_group(memory)[f"videos/{video_key(facts.source_sha256)}/track"][::5]
        pictures = probe(video).pictures(start=facts.stretches[0][0], step=5)
        for window, picture in zip(track, islice(pictures, len(track)), strict=True):
            box, score = yolox.person(picture)
            assert score > 0.5
            whole.append(holds(window, box))
    print(
        f"frames with a person: {np.mean(shares):.4f} (min {min(shares):.4f}); "
        f"windows that hold the whole body: {np.mean(whole):.4f} of {len(whole)}"
    )
    assert np.mean(shares) >= 0.99
    assert np.mean(whole) >= 0.99


def passes_of(line: str) -> tuple[str, list[tuple[int, int]]]:
    name, ranges = line.split("frames")
    pairs = (part.strip().split("-") for part in ranges.split(","))
    return name.strip(), [(int(first) - 1, int(last)) for first, last in pairs]


@pytest.mark.slow
def test_four_passes_are_found(shared_data: Path) -> None:
    """The ranges hold the approach as well: half a second before and after a body is seen.

    Frames outside them in which an independent detector sees the person do not count.
    """
    yolox = Yolox(shared_data / "weights" / "yolox_nano.onnx")
    lines = (shared_data / "kth" / "passes.txt").read_text().splitlines()
    assert len(lines) == 6
    for name, passes in map(passes_of, lines):
        video = probe(shared_data / "kth" / f"{name}_uncomp.avi", least_height=448)
        track = find_moving_person(video).track
        true = np.zeros(video.num_frames, bool)
        for first, stop in passes:
            true[first:stop] = True
        counts = true.copy()
        for number, picture in enumerate(video.pictures()):
            if not true[number]:
                counts[number] = yolox.person(cv2.resize(picture, None, fx=3, fy=3))[1] < 0.5
        found = track.presence != Presence.ABSENT
        agreement = (found == true)[counts].mean()
        print(f"{name}: {agreement:.3f} ({(found == true).mean():.3f} of all frames)")
        assert agreement >= 0.9
        assert len(track.stretches) == len(passes)
        for stretch, (first, stop) in zip(track.stretches, passes, strict=True):
            assert first <= track.frames[stretch.start]
            assert track.frames[stretch.stop - 1] < stop


@pytest.mark.slow
def test_the_walker_is_followed_not_who_stands_behind(shared_data: Path) -> None:
    """The walker comes from behind a tree at frame 37 and leaves on the left at frame 200."""
    yolox = Yolox(shared_data / "weights" / "yolox_nano.onnx")
    video = probe(shared_data / "other" / "two_people_walk.mp4", least_height=448)
    track = find_moving_person(video).track
    assert track.num_people == 2
    present = np.flatnonzero(track.presence >= Presence.LEFT_OUT)
    assert present[0] <= 45
    assert present[-1] >= 198
    assert len(track.stretches) == 1
    agree = []
    for number, picture in enumerate(video.pictures()):
        if number in track.frames[::5]:
            box = track.boxes[np.flatnonzero(track.frames == number)[0]]
            x0, y0, x1, y1 = (box + np.array([-60, -60, 60, 60])).clip(0).astype(int)
            seen, score = yolox.person(np.ascontiguousarray(picture[y0:y1, x0:x1]))
            if score > 0.3:
                middle = (seen[[0, 2]].mean() + x0, seen[[1, 3]].mean() + y0)
                height = box[3] - box[1]
                agree.append(abs(middle[0] - box[[0, 2]].mean()) < 0.2 * height)
    print(f"walker at the track's place in {sum(agree)} of {len(agree)} frames")
    assert len(agree) >= 20
    assert np.mean(agree) >= 0.95
