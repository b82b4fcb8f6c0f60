import errno
import itertools
import os
import pkgutil
import re
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from pydantic import ValidationError
from torchvision.models.optical_flow import raft_small

from asd_experiments.config import FlowName, PreprocessConfig
from asd_experiments.data.manifest import LabelsError
from asd_experiments.data.storage import StoreError
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import VideoFacts, video_key
from asd_experiments.data.store_writer import StoreWriter
from asd_experiments.errors import InputError
from preprocess.cohort import preprocess
from preprocess.flow import FLOWS, flow_method
from preprocess.method import WeightsSource, without_weights
from preprocess.people import PERSON_FINDERS
from preprocess.pipeline import Preprocessor
from preprocess.scratch import ScratchError
from preprocess.segment import SEGMENTERS
from preprocess.worker import VideosGoneError
from tests.preprocess.films import SIZE, ellipse, film, walk, wall, write_cohort, write_video
from tests.preprocess.truth import flow_in_crops, in_crop, read_truth


@pytest.fixture(scope="session")
def config(walkers: Path, tmp_path_factory: pytest.TempPathFactory) -> PreprocessConfig:
    store = tmp_path_factory.mktemp("pipeline") / "store.zarr"
    return PreprocessConfig(
        videos=str(walkers),
        labels=str(walkers / "labels.csv"),
        store=str(store),
        size=SIZE,
        workers=1,
    )


@pytest.fixture(scope="session")
def stored(config: PreprocessConfig) -> ClipStore:
    preprocess(config)
    return ClipStore(config.store)


def arrays_of(store: ClipStore, key: str) -> dict[str, bytes]:
    root = zarr.open_group(store.url, mode="r")[f"videos/{key}"]
    return {name: root[name][:].tobytes() for name in ("rgb", "mask", "flow", "track")}


def store_one(
    video: Path, recipe: dict[str, object], weights: dict[str, bytes] | None = None
) -> tuple[ClipStore, VideoFacts]:
    """What the logged model does: one video, a store in memory."""
    preprocessor = Preprocessor(recipe, weights)
    memory = zarr.storage.MemoryStore()
    writer = StoreWriter(memory, preprocessor.recipe, preprocessor.backends, preprocessor.weights)
    facts = preprocessor.store_video(video, writer)
    key = video_key(facts.source_sha256)
    row = {"video": video.name, "patient_id": "P", "label": "ASD", "key": key}
    writer.finish([row], [])
    return ClipStore(memory), facts


def source_frames(stretches: list[list[int]]) -> np.ndarray:
    return np.concatenate([np.arange(first, first + length) for first, length in stretches])


def test_command_stores_every_video(stored: ClipStore, config: PreprocessConfig) -> None:
    assert len(stored.videos) == 3
    assert list(stored.videos["label"]) == list(pd.read_csv(config.labels)["label"])
    assert stored.recipe == config.recipe
    assert {"av", "opencv-python-headless", "asd_experiments"} <= stored.backends.keys()
    assert stored.failures == []
    for video in stored.videos.itertuples():
        assert video.frame_rate_hz == pytest.approx(25)
        assert video.source_frames == 50
        assert sum(length for _, length in video.stretches) == video.num_frames <= 50
        assert video.person_share >= 0.9
        frames = stored.read(video.key, 0, video.num_frames)
        assert frames.mask.any(axis=(1, 2)).all()
        assert len(frames.flow) == video.num_frames - 1


def test_second_run_skips_what_is_there(stored: ClipStore, config: PreprocessConfig) -> None:
    outcome = preprocess(config)
    assert (len(outcome.labels), outcome.num_new) == (3, 0)
    assert ClipStore(config.store).digest == stored.digest


def test_single_video_gives_the_commands_bytes(stored: ClipStore, config: PreprocessConfig) -> None:
    row = stored.videos.iloc[1]
    single, facts = store_one(Path(config.videos) / row["video"], dict(stored.recipe))
    assert facts.num_frames == row["num_frames"]
    assert arrays_of(single, row["key"]) == arrays_of(stored, row["key"])


def test_crops_hold_the_whole_body_and_move_smoothly(stored: ClipStore, walkers: Path) -> None:
    for video in stored.videos.itertuples():
        window = stored.track(video.key)
        truth = read_truth(walkers / "truth" / f"{Path(video.video).stem}.npz")
        box = truth.box[source_frames(video.stretches)]
        assert (window[:, :2] <= box[:, :2]).all()
        assert (window[:, 2:] >= box[:, 2:]).all()
        centre, true_centre = ((b[:, :2] + b[:, 2:]) / 2 for b in (window, box))
        jitter = np.abs(np.diff(centre, 2, axis=0)).max()
        true_jitter = np.abs(np.diff(true_centre, 2, axis=0)).max()
        side = (window[:, 2] - window[:, 0]).mean()
        print(
            f"crop jitter {jitter / side:.3%} of the crop, of the true box {true_jitter / side:.3%}"
        )
        assert jitter < 0.01 * side
        assert jitter < 0.2 < true_jitter
        assert np.linalg.norm(centre - true_centre, axis=1).max() < 0.1 * (box[0, 3] - box[0, 1])


@pytest.mark.parametrize("name", ["dis", pytest.param("raft_small", marks=pytest.mark.slow)])
def test_flow_is_near_the_truth(
    name: FlowName, walkers: Path, config: PreprocessConfig, request: pytest.FixtureRequest
) -> None:
    """Errors are those on plain clothes; zero flow would be as wrong as the flow is long."""
    weights = {}
    if name == "raft_small":
        file = request.getfixturevalue("shared_data") / "weights" / "raft_small.pth"
        weights["flow"] = flow_method(name).load_weights(WeightsSource(file))
    video = sorted((walkers / "videos").glob("*.mp4"))[0]
    truth = read_truth(walkers / "truth" / f"{video.stem}.npz")
    size = 224
    store, facts = store_one(video, replace(config, size=size, flow=name).recipe, weights)
    key = video_key(facts.source_sha256)
    frames, window = store.read(key, 0, facts.num_frames), store.track(key)
    body, surroundings, length = [], [], []
    for number, flow in enumerate(frames.flow):
        source = source_frames(facts.stretches)[number]
        true = flow_in_crops(truth.flow[source], window[number], window[number + 1], size)
        on_body = in_crop(truth.mask[source], window[number], size) > 0
        error = np.linalg.norm(flow - true, axis=-1)
        body.append(error[on_body].mean())
        surroundings.append(error[~on_body].mean())
        length.append(np.linalg.norm(true[on_body], axis=-1).mean())
    print(
        f"{name} end-point error: body {np.mean(body):.2f} px of {np.mean(length):.2f} px, "
        f"surroundings {np.mean(surroundings):.2f} px"
    )
    assert np.mean(body) < 0.8 * np.mean(length)
    assert np.mean(surroundings) < 1.0


def test_flow_scales_with_the_stored_grid(walkers: Path, config: PreprocessConfig) -> None:
    video = sorted((walkers / "videos").glob("*.mp4"))[0]
    speeds = []
    for size in (96, 192):
        store, facts = store_one(video, replace(config, size=size).recipe)
        flow = store.read(video_key(facts.source_sha256), 0, facts.num_frames).flow
        speeds.append(np.median(flow[..., 0]))
    assert speeds[1] / speeds[0] == pytest.approx(2, rel=0.15)


def test_failed_video_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = wall(96, 160)
    nobody = [np.zeros((96, 160), np.uint8)] * 30
    config = write_cohort(
        tmp_path,
        {
            "empty.mp4": film(nobody, scene),
            "walk.mp4": film(walk(96, 160, 40), scene),
            "cut.mp4": film(walk(96, 160, 60), wall(96, 160, seed=1)),
        },
    )
    write_video(
        tmp_path / "cut.mp4",
        film(walk(96, 160, 60), scene, noise=9.0),
        {"movflags": "faststart"},
    )
    whole = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    outcome = preprocess(config)
    assert [(f["row"], f["label"]) for f in outcome.failures] == [("2", "ASD"), ("4", "ASD")]
    output = "".join(capsys.readouterr())
    assert "row 2 is left out: no person found" in output
    assert re.search(r"row 4 is left out: it cannot be decoded after frame \d+ \(trunc", output)
    assert "mp4" not in output and str(tmp_path) not in output
    assert (len(outcome.labels), outcome.num_new) == (1, 1)
    store = ClipStore(config.store)
    assert list(store.videos["video"]) == ["walk.mp4"]
    assert [failure["video"] for failure in store.failures] == ["empty.mp4", "cut.mp4"]
    patient_of = pd.read_csv(config.labels, dtype=str).set_index("video")["patient_id"]
    assert [f["patient_id"] for f in store.failures] == [*patient_of[["empty.mp4", "cut.mp4"]]]


def test_unreadable_videos_are_named_first_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = wall(96, 160)
    videos = {name: film(walk(96, 160, 40), scene) for name in ("walk.mp4", "text.mp4")}
    config = write_cohort(tmp_path, videos)
    (tmp_path / "text.mp4").write_text("this is no video")
    outcome = preprocess(config)
    output = "".join(capsys.readouterr())
    first_line = output.splitlines()[0]
    assert output.count("it is a text file") == 1 and "text.mp4" not in output
    assert first_line.startswith("row 3 cannot be read and is left out: it is a text file")
    assert list(outcome.labels["video"]) == ["walk.mp4"]
    (failure,) = outcome.failures
    assert failure["video"] == "text.mp4"
    assert failure["reason"] == "it cannot be decoded at its start: it is a text file, not a video"


def test_fps_is_part_of_the_recipe(tmp_path: Path) -> None:
    config = write_cohort(tmp_path, {"walk.mp4": film(walk(96, 160, 40), wall(96, 160))})
    preprocess(replace(config, fps=12.5))
    store = ClipStore(config.store)
    assert store.recipe["fps"] == 12.5
    assert store.videos["frame_rate_hz"].tolist() == [12.5]
    assert store.videos["source_frames"].tolist() == [20]
    with pytest.raises(StoreError, match=r"fps is 12\.5 there, None now"):
        preprocess(config)
    with pytest.raises(ValidationError, match="less than or equal to 240"):
        replace(config, fps=241.0)


def test_bug_is_not_mistaken_for_a_bad_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise TypeError("a bug")

    config = write_cohort(tmp_path, {"walk.mp4": film(walk(96, 160, 30), wall(96, 160))})
    method = without_weights("people=broken", lambda: broken, libraries=())
    monkeypatch.setattr("preprocess.people.motion.MOTION", method)
    with pytest.raises(TypeError, match="a bug"):
        preprocess(config)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "it does not fit into the GPU's memory"),
        (
            av.error.InvalidDataError(1094995529, "Invalid data found", "/videos/a.mp4"),
            "its pictures cannot be converted: Invalid data found",
        ),
        (
            av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory"),
            "it does not fit into memory",
        ),
    ],
    ids=["gpu", "av", "av_memory"],
)
def test_what_one_video_asks_too_much_of_costs_no_other(
    error: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of two videos fails while its flow is computed, the second does not."""
    errors = [error]

    def flow(earlier: np.ndarray, _: np.ndarray) -> np.ndarray:
        if errors:
            raise errors.pop()
        return np.zeros((*earlier.shape[:3], 2), np.float32)

    videos = {n: film(walk(96, 160, 30), wall(96, 160, seed=i)) for i, n in enumerate("ab")}
    config = write_cohort(tmp_path, {f"{n}.mp4": pictures for n, pictures in videos.items()})
    method = without_weights("flow=scarce", lambda: flow, libraries=())
    monkeypatch.setattr("preprocess.flow.dis.DIS", method)
    outcome = preprocess(config)
    assert [(f["video"], f["reason"]) for f in outcome.failures] == [("a.mp4", reason)]
    assert list(outcome.labels["video"]) == ["b.mp4"]


def test_a_file_that_vanishes_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = {n: film(walk(96, 160, 30), wall(96, 160, seed=i)) for i, n in enumerate("ab")}
    config = write_cohort(tmp_path, {f"{n}.mp4": pictures for n, pictures in videos.items()})

    def vanish(*_: object) -> dict[int, str]:
        (tmp_path / "a.mp4").unlink()
        return {}

    monkeypatch.setattr("preprocess.cohort.unreadable_videos", vanish)
    outcome = preprocess(config)
    (failure,) = outcome.failures
    assert failure["video"] == "a.mp4"
    assert failure["reason"] == "it cannot be read: No such file or directory"
    assert list(outcome.labels["video"]) == ["b.mp4"]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("is_mounted", [True, False])
def test_a_lost_videos_folder_ends_the_run_and_is_no_fault_of_its_videos(
    is_mounted: bool, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost share takes its folder along, or leaves an empty one to mount it on."""
    videos = {n: film(walk(96, 160, 30), wall(96, 160, seed=i)) for i, n in enumerate("ab")}
    share = tmp_path / "share"
    share.mkdir()
    there = write_cohort(share, {f"{n}.mp4": pictures for n, pictures in videos.items()})
    config = replace(there, store=str(tmp_path / "s.zarr"), workers=workers)
    preprocess(replace(config, labels=str(only_first(there))))

    def lose(*_: object) -> dict[int, str]:
        share.rename(tmp_path / "elsewhere")
        if is_mounted:
            share.mkdir()
        return {}

    with monkeypatch.context() as patched:
        patched.setattr("preprocess.cohort.unreadable_videos", lose)
        with pytest.raises(VideosGoneError, match=r"folder is gone or empty .*: what is done"):
            preprocess(config)
    if is_mounted:
        share.rmdir()
    (tmp_path / "elsewhere").rename(share)
    outcome = preprocess(config)
    assert (len(outcome.labels), outcome.num_new, outcome.failures) == (2, 1, [])


def only_first(config: PreprocessConfig) -> Path:
    """A labels file with the first row of a cohort's."""
    file = Path(config.labels).with_name("first.csv")
    pd.read_csv(config.labels).head(1).to_csv(file, index=False)
    return file


def test_full_disks_are_not_mistaken_for_bad_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_cohort(tmp_path, {"walk.mp4": film(walk(96, 160, 30), wall(96, 160))})

    def fail(number: int) -> Callable[..., None]:
        def failing(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        return failing

    with monkeypatch.context() as patched:
        patched.setattr("preprocess.decode.TemporaryFile", fail(errno.ENOSPC))
        with pytest.raises(ScratchError, match="No space left on device; make room there"):
            preprocess(config)
    monkeypatch.setattr("zarr.storage._local._put", fail(errno.ENOSPC))
    with pytest.raises(StoreError, match="the disk is full at"):
        preprocess(config)


def test_labels_and_weights_are_checked_before_any_video(
    config: PreprocessConfig, tmp_path: Path
) -> None:
    store = str(tmp_path / "store.zarr")
    with pytest.raises(LabelsError, match=r"none\.csv"):
        preprocess(replace(config, labels=str(tmp_path / "none.csv"), store=store))
    with pytest.raises(InputError, match=r"no file '/.*none\.pth'"):
        preprocess(
            replace(config, flow="raft_small", flow_weights=str(tmp_path / "none.pth"), store=store)
        )
    assert not Path(store).exists()


@pytest.mark.slow
def test_stored_weights_repeat_the_flow(shared_data: Path, tmp_path: Path) -> None:
    config = replace(
        write_cohort(tmp_path, {"walk.mp4": film(walk(96, 160, 16), wall(96, 160))}),
        flow="raft_small",
        flow_weights=str(shared_data / "weights" / "raft_small.pth"),
        size=160,  # here more threads would change some stored values
    )
    preprocess(config)
    store = ClipStore(config.store)
    again = Preprocessor(store.recipe, store.weights())
    assert again.backends == store.backends
    assert {"torch", "torchvision"} <= store.backends.keys()
    memory = zarr.storage.MemoryStore()
    writer = StoreWriter(memory, again.recipe, again.backends, again.weights)
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - threads)
    try:
        again.store_video(tmp_path / "walk.mp4", writer)
    finally:
        torch.set_num_threads(threads)
    writer.finish(store.videos[["video", "patient_id", "label", "key"]].to_dict("records"), [])
    key = store.videos["key"].iloc[0]
    assert arrays_of(ClipStore(memory), key) == arrays_of(store, key)
    assert store.read(key, 0, 10).flow.any()


@pytest.mark.parametrize(("there", "now"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_store_does_not_mix_what_a_gpu_and_a_cpu_compute(
    there: str,
    now: str,
    config: PreprocessConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A GPU computes flow in half precision."""
    torch.save(raft_small(weights=None).state_dict(), tmp_path / "raft.pth")
    source = WeightsSource(tmp_path / "raft.pth")
    weights = {"flow": flow_method("raft_small").load_weights(source)}
    recipe = replace(config, flow="raft_small").recipe

    def write_on(device: str) -> None:
        monkeypatch.setattr("preprocess.network.best_device", lambda: torch.device(device))
        made = Preprocessor(recipe, weights)
        assert made.device == made.backends["device"] == device
        StoreWriter(str(tmp_path / "s.zarr"), made.recipe, made.backends, made.weights)

    write_on(there)
    write_on(there)
    with pytest.raises(StoreError, match=rf"device is '{there}' there, '{now}' now"):
        write_on(now)
    alike = Preprocessor(config.recipe)
    assert "device" not in alike.backends and alike.device is None


@pytest.mark.parametrize("table", [FLOWS, PERSON_FINDERS, SEGMENTERS])
def test_every_method_on_pytorch_says_that_it_takes_a_gpu(table: dict[str, str]) -> None:
    methods = [pkgutil.resolve_name(place) for place in table.values()]
    assert all(method.on_gpu == ("torch" in method.libraries) for method in methods)


def test_recipe_must_be_complete(config: PreprocessConfig) -> None:
    recipe = config.recipe
    with pytest.raises(ValueError, match="the recipe lacks: margin, size"):
        Preprocessor({name: recipe[name] for name in recipe.keys() - {"size", "margin"}})
    with pytest.raises(ValidationError, match="people"):
        Preprocessor({**recipe, "people": "crystal ball"})
    with pytest.raises(ValueError, match="the recipe holds more than a recipe: store"):
        Preprocessor({**recipe, "store": "elsewhere"})


def test_thread_count_does_not_change_what_is_stored(
    stored: ClipStore, config: PreprocessConfig
) -> None:
    row = stored.videos.iloc[0]
    before, torch_before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(before + 1)
    torch.set_num_threads(torch_before + 1)
    try:
        again, _ = store_one(Path(config.videos) / row["video"], config.recipe)
        assert cv2.getNumThreads() == before + 1
        assert torch.get_num_threads() == torch_before + 1
    finally:
        cv2.setNumThreads(before)
        torch.set_num_threads(torch_before)
    assert arrays_of(again, row["key"]) == arrays_of(stored, row["key"])


@pytest.fixture
def peak_bytes(tmp_path: Path) -> Callable[[int], int]:
    def measure(num_frames: int) -> int:
        path = np.linspace(30, 130, 60)
        to_and_fro = itertools.cycle([*path, *path[::-1]])
        masks: Iterator[np.ndarray] = (
            ellipse(96, 160, x) for x in itertools.islice(to_and_fro, num_frames)
        )
        video = write_video(tmp_path / f"{num_frames}.mp4", film(masks, wall(96, 160)))
        preprocessor = Preprocessor(PreprocessConfig("-", "-", size=SIZE).recipe)
        writer = StoreWriter(
            str(tmp_path / f"{num_frames}.zarr"), preprocessor.recipe, preprocessor.backends
        )
        tracemalloc.start()
        facts = preprocessor.store_video(video, writer)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert facts.num_frames == num_frames
        return peak

    return measure


@pytest.mark.slow
def test_memory_does_not_grow_with_length(peak_bytes: Callable[[int], int]) -> None:
    """480 more frames are 22 MB of pictures and 26 MB of stored arrays."""
    peak_bytes(60)
    short, long = peak_bytes(60), peak_bytes(540)
    print(f"peak {short / 1e6:.1f} MB for 60 frames, {long / 1e6:.1f} MB for 540")
    assert long - short < 2e6
