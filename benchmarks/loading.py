"""What does reading clips cost? The store against memory, and against RAFT in every step.

Real videos (four walks of GPJATK) are preprocessed at 224 px with DIS flow. Measured then:

(a) milliseconds to read one 16-frame RGB + mask + flow clip from the store, at random places, the
    files in the page cache; and the same with `make_clip` to 112 px.
(b) the loader's share: one training epoch that reads from the store (`ClipDataset`, `DataLoader`
    with the default `loader_workers`, augmentation on, workers already started as they are in all
    epochs but the first) divided by the same epoch with prepared clips in memory. Goal: at most
    1.10. The network is `slow` at width 0.5, 112 px; a wider one hides the loader better still.
(c) the published way, which decodes and computes RAFT-small at 224 px inside every step, divided
    by the epoch from the store, for the same clips and the same network. It is favoured here: the
    crop's path and the body mask are taken from the store. Goal: more than 50 with a network that
    suits two cores (`slow` at width 0.125, 48 px, as in the demo); also without any network.
    An epoch is all clips of the four videos: in one of two or three batches the wait for the
    first batch, which nothing can hide, would stand for the whole.

Times are medians of a few alternating repetitions, except RAFT's single one. OMP_NUM_THREADS=1
leaves the second core to the loader, and gives RAFT one thread as the network has.

    OMP_NUM_THREADS=1 python benchmarks/loading.py
"""

import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, default_collate

from asd_experiments.config import PreprocessConfig, TrialConfig
from asd_experiments.data.clips import ClipDataset, ClipSample, InOrder, Shuffled, list_clips
from asd_experiments.data.store import ClipStore, StoredFrames
from asd_experiments.data.transforms import make_clip
from asd_experiments.models.two_stream import TwoStream, build_two_stream
from preprocess.cohort import preprocess
from preprocess.crop import cut, oversampling_of
from preprocess.decode import Video, probe
from preprocess.flow import flow_method
from preprocess.method import WeightsSource

DATA = Path(__file__).parents[2] / "shared/data"
VIDEOS = (
    "p1s1_c3_0195.mp4",
    "p2s3_c1_0330.mp4",
    "p3s1_c3_0340.mp4",
    "p4s3_c1_0310.mp4",
)
LABELS = ("left", "right")  # of no meaning: only time is measured
STORE_SIZE = 224
CLIP_LENGTH = 16
NUM_CLIPS_WIDE = 16
BATCH_SIZE = 4
REPETITIONS = 3
LOADER_WORKERS = TrialConfig().loader_workers

Batches = Iterable[ClipSample]


def main() -> None:
    weights = DATA / "weights/raft_small.pth"
    if not weights.is_file() or not all((DATA / "gpjatk" / name).is_file() for name in VIDEOS):
        sys.exit("skipped: the videos or RAFT's weights are not in ../shared/data")
    torch.manual_seed(0)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="loading_") as folder:
        store = make_store(Path(folder))
        print(f"store of {len(VIDEOS)} videos: {time.monotonic() - started:.0f} s")
        print("| measured | result |\n|---|---|")
        measure_reading(store)
        clips = list_clips(store.videos, clip_length=CLIP_LENGTH, clip_stride=CLIP_LENGTH)
        measure_loader_share(store, spread(clips, NUM_CLIPS_WIDE))
        measure_published_way(store, clips, weights)
    usage = time.process_time()
    print(
        f"seconds: {time.monotonic() - started:.0f} altogether, {usage:.0f} of this process's CPU"
    )


def make_store(folder: Path) -> ClipStore:
    rows = [
        (name, name.split("_")[0], LABELS[number % len(LABELS)])
        for number, name in enumerate(VIDEOS)
    ]
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("video", "patient_id", "label"), *rows])
    store = str(folder / "store.zarr")
    preprocess(
        PreprocessConfig(
            videos=str(DATA / "gpjatk"),
            labels=str(folder / "labels.csv"),
            store=store,
            flow="dis",
            size=STORE_SIZE,
        )
    )
    return ClipStore(store)


def spread(clips: pd.DataFrame, count: int) -> pd.DataFrame:
    """Clips evenly spread over all videos."""
    rows = np.linspace(0, len(clips) - 1, count).round().astype(int)
    return clips.iloc[rows].reset_index(drop=True)


def measure_reading(store: ClipStore) -> None:
    rng = np.random.default_rng(0)
    places = []
    for _ in range(60):
        video = store.videos.iloc[rng.integers(len(store.videos))]
        start = int(rng.integers(video["num_frames"] - CLIP_LENGTH + 1))
        places.append((video["key"], start, start + CLIP_LENGTH))
    for place in places:
        store.read(*place)
    reading, preparing = [], []
    for place in places:
        frames, seconds = timed(lambda place=place: store.read(*place))
        reading.append(seconds)
        _, seconds = timed(lambda frames=frames: prepared(frames, 112))
        preparing.append(seconds + reading[-1])
    low, high = (1000 * np.quantile(reading, share) for share in (0.05, 0.95))
    show(
        f"(a) read a clip of {CLIP_LENGTH} frames at {STORE_SIZE} px",
        f"{1000 * statistics.median(reading):.1f} ms (90 % within {low:.1f} to {high:.1f})",
    )
    show("(a) read it and prepare it at 112 px", f"{1000 * statistics.median(preparing):.1f} ms")


def prepared(frames: StoredFrames, size: int) -> ClipSample:
    clip = make_clip(frames, clip_length=CLIP_LENGTH, size=size, segmentation=True)
    label, row = torch.tensor(0), torch.tensor(0)
    return {"appearance": clip.appearance, "motion": clip.motion, "label": label, "row": row}


def measure_loader_share(store: ClipStore, clips: pd.DataFrame) -> None:
    seconds = epochs_of(store, clips, width=0.5, size=112)
    share = seconds["store"] / seconds["memory"]
    show(
        f"(b) epoch of {len(clips)} clips, slow x 0.5, 112 px: store / memory",
        f"{seconds['store']:.2f} s / {seconds['memory']:.2f} s = **{share:.3f}**",
    )


def epochs_of(
    store: ClipStore, clips: pd.DataFrame, *, width: float, size: int
) -> dict[str, float]:
    """Median seconds of an epoch from the store and from memory, in turns."""
    dataset = dataset_of(store, clips, size)
    step = training_step(width, size)
    memory = list(DataLoader(dataset, BATCH_SIZE, sampler=InOrder(len(dataset))))
    loader = DataLoader(
        dataset,
        BATCH_SIZE,
        sampler=Shuffled(len(dataset), augment=True, seed=0),
        num_workers=LOADER_WORKERS,
        persistent_workers=LOADER_WORKERS > 0,
    )
    for _ in loader:  # starts the processes
        pass
    step(memory[0])
    sources: dict[str, Batches] = {"memory": memory, "store": loader}
    seconds = {
        name: [timed(lambda batches=batches: run_epoch(step, batches))[1]]
        for name, batches in sources.items()
    }
    for _ in range(REPETITIONS - 1):
        for name, batches in sources.items():
            seconds[name].append(timed(lambda batches=batches: run_epoch(step, batches))[1])
    return {name: statistics.median(values) for name, values in seconds.items()}


def dataset_of(store: ClipStore, clips: pd.DataFrame, size: int) -> ClipDataset:
    return ClipDataset(
        store,
        clips,
        classes=list(LABELS),
        clip_length=CLIP_LENGTH,
        size=size,
        segmentation=True,
    )


def training_step(width: float, size: int) -> Callable[[ClipSample], None]:
    network: TwoStream = build_two_stream(
        backbone="slow_50",
        fusion="late_average",
        num_classes=len(LABELS),
        clip_length=CLIP_LENGTH,
        size=size,
        width=width,
        dropout=0.5,
    ).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step(batch: ClipSample) -> None:
        scores = network(batch["appearance"], batch["motion"])
        loss = functional.cross_entropy(scores.fused, batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def run_epoch(step: Callable[[ClipSample], None], batches: Batches) -> None:
    for batch in batches:
        step(batch)


def measure_published_way(store: ClipStore, clips: pd.DataFrame, weights: Path) -> None:
    width, size = 0.125, 48
    seconds = epochs_of(store, clips, width=width, size=size)
    raft = flow_method("raft_small")
    flow = raft.build(raft.load_weights(WeightsSource(weights)))
    step = training_step(width, size)
    videos = {name: probe(DATA / "gpjatk" / name) for name in VIDEOS}  # not charged to the steps

    waited = []  # seconds that each batch of the published way took to come

    def batches() -> Batches:
        for first in range(0, len(clips), BATCH_SIZE):
            began = time.perf_counter()
            batch = default_collate(
                [
                    prepared(decoded_with_flow(store, row, videos[row["video"]], flow), size)
                    for _, row in clips.iloc[first : first + BATCH_SIZE].iterrows()
                ]
            )
            waited.append(time.perf_counter() - began)
            yield batch

    _, published = timed(lambda: run_epoch(step, batches()))
    dataset = dataset_of(store, clips, size)
    in_order = DataLoader(dataset, BATCH_SIZE, sampler=InOrder(len(dataset)))
    data = statistics.median(timed(lambda: list(in_order))[1] for _ in range(REPETITIONS))
    show(
        f"(c) epoch of {len(clips)} clips, slow x {width}, {size} px: RAFT in every step / store",
        f"{published:.1f} s / {seconds['store']:.2f} s = **{published / seconds['store']:.0f}**",
    )
    show(
        f"(c) its loader's share: store / memory, loader_workers={LOADER_WORKERS}",
        f"{seconds['store']:.2f} s / {seconds['memory']:.2f} s = "
        f"{seconds['store'] / seconds['memory']:.2f}",
    )
    show(
        "(c) data alone, one process: decoding and RAFT / store",
        f"{sum(waited):.1f} s / {data:.2f} s = **{sum(waited) / data:.0f}**",
    )


def decoded_with_flow(
    store: ClipStore,
    clip: pd.Series,
    video: Video,
    flow: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> StoredFrames:
    """One clip the published way: decode the video up to it, crop, compute the flow."""
    start = int(clip["clip_start"])
    places = slice(start, start + CLIP_LENGTH)
    windows = store.track(clip["key"])[places]
    pictures = islice(
        video.pictures(start=round(clip["clip_start_seconds"] * clip["frame_rate_hz"])), CLIP_LENGTH
    )
    oversampling = oversampling_of(windows, STORE_SIZE)
    crops = np.stack(
        [
            cut(picture, window, STORE_SIZE, oversampling)
            for picture, window in zip(pictures, windows, strict=True)
        ]
    )
    mask = store.read(clip["key"], places.start, places.stop).mask
    return StoredFrames(crops, mask, flow(crops[:-1], crops[1:]))


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def show(measured: str, result: str) -> None:
    print(f"| {measured} | {result} |", flush=True)


if __name__ == "__main__":
    main()
