"""Real walks, judged by an independent detector."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.store import StoreWriter, video_key
from preprocess.decode import VideoError, probe
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
        track = zarr.open_group(memory)[f"videos/{video_key(facts.source_sha256)}/track"][:]
        pictures = probe(video).pictures(start=facts.stretches[0][0], step=5)
        for window, picture in zip(track[::5], pictures, strict=False):
            box, score = yolox.person(picture)
            assert score > 0.5
            whole.append(holds(window, box))
    print(
        f"frames with a person: {np.mean(shares):.4f} (min {min(shares):.4f}); "
        f"windows that hold the whole body: {np.mean(whole):.4f} of {len(whole)}"
    )
    assert np.mean(shares) >= 0.99
    assert np.mean(whole) >= 0.99


@pytest.mark.slow
def test_harder_real_videos_do_not_crash(shared_data: Path) -> None:
    videos = sorted([*shared_data.glob("kth/*.avi"), *shared_data.glob("other/*.mp4")])
    assert len(videos) == 8
    for video in videos:
        preprocessor = Preprocessor(PreprocessConfig("-", "-", size=64).recipe)
        writer = StoreWriter(zarr.storage.MemoryStore(), preprocessor.recipe, preprocessor.backends)
        try:
            facts = preprocessor.store_video(video, writer)
        except VideoError as error:
            print(f"{video.name}: {error}")
        else:
            print(f"{video.name}: {facts.num_frames} of {facts.source_frames} frames")
