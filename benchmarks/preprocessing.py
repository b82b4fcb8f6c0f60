"""How fast are videos preprocessed, and how much faster by more processes?

Real walks (GPJATK) are re-encoded as the cohort's cameras film: 1920x1080, 30 Hz, H.264 at about
14 Mbit/s, a key frame every second, with a sensor's noise. Measured then:

(a) videos per second of the whole command `preprocess` (224 px, DIS flow) with one process and
    with two, one after the other, the files in the page cache. The start of the processes, about
    two seconds each, is part of it. Goal: two are at least 1.8 times as fast on two free cores;
    the load beside it is printed, because on a busy machine the ratio says nothing.

    python benchmarks/preprocessing.py
"""

import csv
import os
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import numpy as np

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.store import ClipStore
from preprocess.cohort import preprocess

DATA = Path(__file__).parents[2] / "shared/data"
NUM_VIDEOS = 8
NUM_FRAMES = 150
WIDTH, HEIGHT, RATE_HZ = 1920, 1080, 30
BITS_PER_SECOND = 14_000_000
NOISE = 2.0  # grey levels


def main() -> None:
    sources = sorted((DATA / "gpjatk").glob("*.mp4"))[:NUM_VIDEOS]
    if len(sources) < NUM_VIDEOS:
        sys.exit("skipped: the videos are not in ../shared/data")
    with tempfile.TemporaryDirectory(prefix="preprocessing_") as folder:
        config = make_cohort(Path(folder), sources)
        print("| measured | result |\n|---|---|")
        measure_processes(config, len(sources))


def make_cohort(folder: Path, sources: list[Path]) -> PreprocessConfig:
    """Labelled full-HD videos, all of different content."""
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = [(source.name, source.name, "walk") for source in sources]
        csv.writer(file).writerows([("video", "patient_id", "label"), *rows])
    for seed, source in enumerate(sources):
        film_again(source, folder / source.name, seed)
    return PreprocessConfig(
        videos=str(folder), labels=str(folder / "labels.csv"), store=str(folder / "store.zarr")
    )


def film_again(source: Path, target: Path, seed: int) -> None:
    """Re-encode the start of a video as a full-HD camera would have filmed it."""
    rng = np.random.default_rng(seed)
    noises = [rng.normal(0, NOISE, (HEIGHT, WIDTH, 1)).astype(np.float32) for _ in range(5)]
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        stream = write.add_stream("libx264", rate=RATE_HZ)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = BITS_PER_SECOND
        stream.gop_size = RATE_HZ
        stream.options = {"preset": "veryfast"}
        for number, frame in enumerate(islice(read.decode(video=0), NUM_FRAMES)):
            picture = frame.reformat(WIDTH, HEIGHT, "rgb24").to_ndarray()
            noisy = (picture + noises[number % len(noises)]).clip(0, 255).astype(np.uint8)
            filmed = av.VideoFrame.from_ndarray(noisy, format="rgb24")
            filmed.pts = number
            write.mux(stream.encode(filmed))
        write.mux(stream.encode())


def measure_processes(config: PreprocessConfig, num_videos: int) -> None:
    rates, digests = {}, set()
    load = os.getloadavg()[0]
    for workers in (1, 2):
        again = replace(config, workers=workers, store=f"{config.store}.{workers}")
        started = time.perf_counter()
        preprocess(again)
        rates[workers] = num_videos / (time.perf_counter() - started)
        digests.add(ClipStore(again.store).digest)
    same = "same digest" if len(digests) == 1 else "DIFFERENT DIGESTS"
    show(
        f"(a) videos per second, {num_videos} videos of full HD: two processes / one",
        f"{rates[2]:.3f} / {rates[1]:.3f} = **{rates[2] / rates[1]:.2f}** "
        f"({same}; load before: {load:.1f} on {len(os.sched_getaffinity(0))} cores)",
    )


def show(measured: str, result: str) -> None:
    print(f"| {measured} | {result} |", flush=True)


if __name__ == "__main__":
    main()
