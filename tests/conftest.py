"""Fixtures that several test folders share: small stores that need no video."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import PreparedFrame, Presence, VideoFacts, video_key
from asd_experiments.data.store_writer import StoreWriter

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

# Ray's workers give way to everything else, so on a busy machine their tests would take for ever.
os.environ.setdefault("RAY_worker_niceness", "0")

torch.set_num_threads(min(2, os.cpu_count() or 1))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pictures", help="folder for the pictures that tests/test_mlflow_ui.py makes"
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("real videos and weights are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def _config_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A key for pseudonyms is made in a folder of the tests, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


def facts_of(number: int, num_frames: int) -> VideoFacts:
    return VideoFacts(
        source_sha256=f"{number:064x}"[::-1],
        num_frames=num_frames,
        stretches=[[5, num_frames]],
        frame_rate_hz=25.0,
        source_frames=num_frames + 10,
        source_height=480,
        source_width=640,
        person_share=0.9,
        bridged_share=0.0,
        num_people=1,
        num_switches=0,
    )


def presence_of(facts: VideoFacts) -> np.ndarray:
    presence = np.full(facts.source_frames, Presence.ABSENT, np.uint8)
    for first, length in facts.stretches:
        presence[first : first + length] = Presence.SEEN
    return presence


def moving_square(num_frames: int, *, size: int, step: int, seed: int) -> Iterator[PreparedFrame]:
    """A bright square on noise that moves `step` pixels a frame: appearance and motion agree."""
    rng = np.random.default_rng(seed)
    for number in range(num_frames):
        rgb = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
        mask = np.zeros((size, size), dtype=np.uint8)
        left = size // 4 + (number * step) % (size // 3)
        mask[size // 4 : 3 * size // 4, left : left + size // 4] = 1
        rgb[mask == 1] = 200 if step > 0 else 120
        flow = np.zeros((size, size, 2), dtype=np.float32)
        flow[mask == 1, 0] = step
        window = np.array([number, 0, number + size, size], dtype=np.float32)
        yield PreparedFrame(rgb, mask, flow if number else None, window)


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ClipStore]:
    """Make a store in which the class shows in both streams."""

    def make(
        num_patients: int = 12,
        *,
        videos_per_patient: int = 1,
        num_frames: int = 20,
        size: int = 32,
        classes: tuple[str, ...] = ("ASD", "non_ASD"),
        metadata: Callable[[int], dict[str, object]] = lambda patient: {},
        failures: Sequence[dict[str, str]] = (),
    ) -> ClipStore:
        folder = str(tmp_path_factory.mktemp("store") / "store.zarr")
        recipe = {"people": "motion", "flow": "dis", "size": size}
        writer = StoreWriter(folder, recipe, {"opencv": "test"})
        rows = []
        for number in range(num_patients * videos_per_patient):
            patient = number // videos_per_patient
            which = patient % len(classes)
            facts = facts_of(number + 1, num_frames)
            step = which + 1 if which else -1
            frames = moving_square(num_frames, size=size, step=step, seed=number)
            writer.write(facts, presence_of(facts), frames)
            rows.append(
                {
                    "video": f"v{number}.mp4",
                    "patient_id": f"P{patient:02d}",
                    "label": classes[which],
                    "site": f"site {patient // 2 % 3}",
                    "key": video_key(facts.source_sha256),
                    **metadata(patient),
                }
            )
        writer.finish(rows, failures=list(failures))
        return ClipStore(folder)

    return make


@pytest.fixture(scope="session")
def small_store(make_store: Callable[..., ClipStore]) -> ClipStore:
    return make_store()
