"""Videos that do harm to whoever opens them."""

import multiprocessing
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.store import ClipStore
from asd_experiments.data.video_file import VideoBounds
from asd_experiments.errors import InputError
from preprocess import isolated
from preprocess.isolated import IsolatedPreprocessor
from tests.preprocess.encode import encode, numbered
from tests.preprocess.test_workers import Deadly

pytestmark = pytest.mark.slow

MOST_BYTES = 2**30
RECIPE = PreprocessConfig(videos="none", labels="none", size=48).recipe


@pytest.fixture(scope="module")
def preprocessor() -> Iterator[IsolatedPreprocessor]:
    bounds = VideoBounds(most_seconds=60.0, most_frames=3600)
    made = IsolatedPreprocessor(RECIPE, {}, bounds=bounds, most_bytes=MOST_BYTES)
    yield made
    made.close()


def bomb(path: Path, num_frames: int) -> Path:
    """An MP4 file of 2.5 kB whose tables say that it holds so many frames, of a byte each."""
    content = bytearray(encode(path, numbered(30)).read_bytes())
    for box, offset, value in (
        (b"stsz", 8, struct.pack(">II", 1, num_frames)),
        (b"stsc", 16, struct.pack(">I", num_frames)),
        (b"stts", 12, struct.pack(">I", num_frames)),
    ):
        start = content.index(box) + offset
        content[start : start + len(value)] = value
    path.write_bytes(content)
    return path


def test_a_video_is_stored_as_in_this_process(preprocessor, walkers: Path, tmp_path: Path) -> None:
    (video, *_) = sorted(walkers.rglob("*.mp4"))
    store = tmp_path / "store.zarr"
    assert preprocessor.store_alone(video, store, label="ASD", seconds=60.0) is None
    here = tmp_path / "here.zarr"
    assert isolated.Preprocessor(RECIPE).store_alone(video, str(here), label="ASD") is None
    ours, theirs = ClipStore(str(store)), ClipStore(str(here))
    assert ours.digest == theirs.digest
    assert ours.videos["label"].tolist() == ["ASD"]


def test_tables_of_many_frames_cost_neither_memory_nor_time(preprocessor, tmp_path: Path) -> None:
    """FFmpeg takes 70 bytes and 1 us for each of them, while it opens the file."""
    path = bomb(tmp_path / "bomb.mp4", 150_000_000)
    assert path.stat().st_size < 3000
    started = time.monotonic()
    store = partial(preprocessor.store_alone, path, tmp_path / "store", label="ASD")
    reason = store(seconds=60.0)
    assert reason is not None
    assert time.monotonic() - started < 10
    bomb(path, 8_000_000)  # fits
    assert store(seconds=0.4) == (
        "it takes longer than 0 s to preprocess; cut the walk out of it, or scale it down"
    )


def is_large(process: psutil.Process) -> bool:
    return process.memory_info().rss > 300 * 2**20


def test_a_process_that_dies_is_followed_by_another(
    preprocessor, walkers: Path, tmp_path: Path
) -> None:
    path = bomb(tmp_path / "bomb.mp4", 8_000_000)  # fits, and takes seconds
    with ThreadPoolExecutor() as threads:
        store = partial(preprocessor.store_alone, label="ASD", seconds=60.0)
        task = threads.submit(store, path, tmp_path / "store")
        while not (busy := [child for child in psutil.Process().children() if is_large(child)]):
            time.sleep(0.01)
        busy[0].kill()
        reason = task.result()
    assert reason == (
        "reading it takes more than 1 GiB of memory or breaks the reader: "
        "it is damaged, or made to do harm"
    )
    (video, *_) = sorted(walkers.rglob("*.mp4"))
    assert store(video, tmp_path / "good") is None


def test_a_process_that_is_killed_between_two_videos_costs_none(
    preprocessor, walkers: Path, tmp_path: Path
) -> None:
    (video, *_) = sorted(walkers.rglob("*.mp4"))
    store = partial(preprocessor.store_alone, label="ASD", seconds=60.0)
    for number in range(2):
        assert store(video, tmp_path / f"before{number}") is None
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
        time.sleep(number)  # at once, and after the pool has seen it
        assert store(video, tmp_path / f"after{number}") is None


def test_bounds_are_kept(preprocessor, tmp_path: Path) -> None:
    wide = encode(tmp_path / "wide.mp4", numbered(2, 16, 4098))
    reason = preprocessor.store_alone(wide, tmp_path / "store", label="ASD", seconds=60.0)
    assert reason is not None
    assert reason.startswith("its pictures must have at most 4096 pixels")
    reason = preprocessor.store_alone(
        bomb(tmp_path / "bomb.mp4", 5000), tmp_path / "store", label="ASD", seconds=60.0
    )
    assert reason is not None
    assert "must have 3600 frames at most, got 5000 or more" in reason


def test_a_process_that_cannot_begin_is_told() -> None:
    before = multiprocessing.active_children()
    with pytest.raises(InputError, match="dies as it begins; see above, or allow it more memory"):
        IsolatedPreprocessor({"size": Deadly()}, {}, bounds=VideoBounds(), most_bytes=MOST_BYTES)
    assert multiprocessing.active_children() == before
