"""How fast are videos preprocessed, how much faster by more processes, in how much memory?

Real walks (GPJATK) are re-encoded as the cohort's cameras film: 1920x1080, 30 Hz, H.264 at about
14 Mbit/s, a key frame every second, with a sensor's noise. Measured then:

(a) videos per second of the whole command `preprocess` (224 px, DIS flow) with one process and
    with two, one after the other, the files in the page cache. The start of the processes, about
    two seconds each, is part of it. Goal: two are at least 1.8 times as fast on two free cores;
    the load beside it is printed, because on a busy machine the ratio says nothing.
(b) frames per second of one process, in CPU time, against PyAV that merely decodes the same video
    to RGB frames on one core. Goal: at least half.
(c) peak memory of a process that preprocesses a walk to and fro of 10 s, and one of 10 min.

    OMP_NUM_THREADS=1 python benchmarks/preprocessing.py
"""

import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_writer import StoreWriter
from preprocess.cohort import preprocess
from preprocess.pipeline import Preprocessor

DATA = Path(__file__).parents[2] / "shared/data"
NUM_VIDEOS = 20
TAKES = 2  # of each, with a noise of its own: the start of processes is a small part of a cohort
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
        measure_processes(config, TAKES * len(sources))
        measure_against_decoding(config, sources)
        measure_memory(Path(folder))


def make_cohort(folder: Path, sources: list[Path]) -> PreprocessConfig:
    """Labelled full-HD videos, all of different content."""
    with (folder / "labels.csv").open("w", newline="") as file:
        names = [f"{take}_{source.name}" for take in range(TAKES) for source in sources]
        rows = [(name, name, "walk") for name in names]
        csv.writer(file).writerows([("video", "patient_id", "label"), *rows])
    for seed, (name, source) in enumerate(zip(names, TAKES * sources, strict=True)):
        film_again(source, folder / name, seed)
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


def measure_against_decoding(config: PreprocessConfig, sources: list[Path]) -> None:
    videos = [Path(config.videos) / f"0_{source.name}" for source in sources]
    preprocessor = Preprocessor(config.recipe)
    store = f"{config.store}.alone"
    writer = StoreWriter(store, preprocessor.recipe, preprocessor.backends)
    ratios = []
    for video in videos:
        started = time.process_time()
        with av.open(str(video)) as container:
            container.streams.video[0].thread_type = "NONE"
            for frame in container.decode(video=0):
                frame.to_ndarray(format="rgb24")
        decoded = time.process_time()
        preprocessor.store_video(video, writer)
        ratios.append((decoded - started) / (time.process_time() - decoded))
    show(
        f"(b) one process / PyAV to RGB frames, {len(videos)} videos of full HD",
        f"**{np.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})",
    )


def measure_memory(folder: Path) -> None:
    for seconds in (10, 600):
        video = folder / f"{seconds}.mp4"
        to_and_fro(video, seconds)
        command = [sys.executable, __file__, str(video), str(folder / f"{seconds}.zarr")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        show(f"(c) peak memory, {seconds} s of 640x360 at 25 Hz", done.stdout.strip())


def to_and_fro(target: Path, seconds: int) -> None:
    """A dark body that walks to and fro before a textured wall."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(90, 210, (60, 107, 3)).astype(np.float32)
    scene = cv2.resize(coarse, (640, 360), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    path = 320 + 200 * np.sin(np.arange(25 * seconds) / 25)
    with av.open(str(target), "w") as write:
        stream = write.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.options = {"preset": "ultrafast"}
        for number, x in enumerate(path):
            picture = scene.astype(np.uint8)
            cv2.ellipse(picture, (int(x), 180), (40, 120), 0, 0, 360, (40, 40, 60), -1)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            write.mux(stream.encode(frame))
        write.mux(stream.encode())


def preprocess_alone(video: Path, store: str) -> None:
    """Preprocess one video and say what it took."""
    preprocessor = Preprocessor(PreprocessConfig("-", "-").recipe)
    writer = StoreWriter(store, preprocessor.recipe, preprocessor.backends)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = preprocessor.store_video(video, writer)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak:.0f} MiB ({before:.0f} MiB before; {facts.num_frames} frames stored)")


def show(measured: str, result: str) -> None:
    print(f"| {measured} | {result} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        preprocess_alone(Path(sys.argv[1]), sys.argv[2])
    else:
        main()
