"""All person finders, segmenters and flow methods on the same videos: quality, speed, memory.

Finders work on two real walks (GPJATK) and are compared with YOLOX-nano, which only `onnx` is
itself. Segmenters and flows work on simulated walkers, whose true masks and flows are known, and
are given the same crops. Networks whose weights are not in ../shared/data get random ones: their
quality is left out, their speed and memory are real. Every method runs in a process of its own;
memory is that process's peak beyond what a process needs that only imports the project.

    OMP_NUM_THREADS=1 python benchmarks/methods.py
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from asd_experiments.config import SimulateConfig
from asd_experiments.errors import InputError
from asd_experiments.simulation.cohort import simulate
from preprocess.crop import cut, oversampling_of, smooth_windows
from preprocess.decode import Video, probe
from preprocess.flow import FLOWS, flow_method
from preprocess.method import Method, WeightsSource
from preprocess.people import PERSON_FINDERS, person_finder_method
from preprocess.people.track import PersonNotFoundError
from preprocess.segment import SEGMENTERS, segmenter_method
from tests.preprocess.truth import flow_in_crops, in_crop, intersection_over_union, read_truth
from tests.preprocess.yolox import Yolox

DATA = Path(__file__).parents[2] / "shared/data"
WALKS = ("p1s1_c3_0195.mp4", "p2s3_c1_0330.mp4")
WEIGHTS = {"raft_small": "raft_small.pth", "onnx": "yolox_nano.onnx"}
SIZE = 224
FRAMES = 24  # of every video, for networks that take seconds a frame


def main() -> None:
    if not DATA.is_dir():
        sys.exit("skipped: ../shared/data is not there")
    with tempfile.TemporaryDirectory(prefix="methods_") as folder:
        cohort = Path(folder) / "cohort"
        simulate(
            SimulateConfig(
                out=str(cohort), patients=2, videos_per_patient=1, seconds=2, height=480, truth=True
            )
        )
        for role, table in (("people", PERSON_FINDERS), ("segment", SEGMENTERS), ("flow", FLOWS)):
            print(f"\n| {role} | quality | frames per second | memory, MiB |\n|---|---|---|---|")
            for name in table:
                print(f"| `{name}` | {row_of(role, name, cohort)} |", flush=True)


def row_of(role: str, name: str, cohort: Path) -> str:
    command = [sys.executable, __file__, role, name, str(cohort)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"not here: {(done.stderr.strip().splitlines() or ['killed'])[-1][:80]} | | "
    found = json.loads(done.stdout.splitlines()[-1])
    return f"{found['quality']} | {found['rate']:.2f} | {found['memory']:.0f}"


def measure(role: str, name: str, cohort: Path) -> dict[str, Any]:
    before = peak_mib()
    work = {"people": measure_finder, "segment": measure_segmenter, "flow": measure_flow}[role]
    quality, rate = work(name, cohort)
    return {"quality": quality, "rate": rate, "memory": peak_mib() - before}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def made(method: Method[Any], name: str) -> tuple[Any, bool]:
    """A method, and whether its weights know anything."""
    if name in WEIGHTS:
        source = WeightsSource(DATA / "weights" / WEIGHTS[name])
        return method.build(method.load_weights(source)), True
    try:
        return method.build(method.load_weights(WeightsSource())), True
    except InputError as error:
        if "needs detectron2" in str(error):
            sys.exit(str(error).splitlines()[0])
        return method.build(random_weights(name)), False


def random_weights(name: str) -> bytes:
    """Weights of the right shapes, for the networks that torchvision builds."""
    import torch
    from torchvision.models import detection, segmentation
    from torchvision.models.optical_flow import raft_large

    from preprocess.network import to_bytes

    torch.manual_seed(0)
    network = {
        "raft_large": lambda: raft_large(weights=None),
        "torchvision": lambda: (
            segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
            if sys.argv[1] == "segment"
            else detection.maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
        ),
    }[name]()
    return to_bytes(network.state_dict())


def measure_finder(name: str, _: Path) -> tuple[str, float]:
    find, knows = made(person_finder_method(name), name)
    yolox = Yolox(DATA / "weights" / "yolox_nano.onnx")
    near, num_frames, seconds = [], 0, 0.0
    for walk in WALKS:
        video = probe(DATA / "gpjatk" / walk, least_height=2 * SIZE)
        if not knows:
            video = short(video)
        started = time.perf_counter()
        try:
            track = find(video).track
        except PersonNotFoundError:
            if knows:
                raise
        seconds += time.perf_counter() - started
        num_frames += video.num_frames
        if knows:
            near += [box_agrees(yolox, video, track, place) for place in range(0, 80, 8)]
    quality = f"{np.mean(near):.0%} of boxes agree" if knows else "(random weights)"
    return quality, num_frames / seconds


def short(video: Video) -> Video:
    return replace(video, num_frames=4, kept=video.kept[:4])


def box_agrees(yolox: Yolox, video: Video, track: Any, place: int) -> bool:
    """Whether both boxes overlap by 0.7 of their union."""
    number = int(track.frames[place])
    box, _ = yolox.person(next(video.pictures(start=number)))
    other = track.boxes[place]
    common = np.prod((np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).clip(0))
    areas = [np.prod(b[2:] - b[:2]) for b in (box, other)]
    return bool(common / (sum(areas) - common) > 0.7)


def walkers(cohort: Path):
    """Video, track, windows, crops and truth of every simulated walk."""
    find = person_finder_method("motion").build(None)
    for path in sorted((cohort / "videos").glob("*.mp4")):
        video = probe(path, least_height=2 * SIZE)
        track = find(video).track
        windows = smooth_windows(
            track.boxes, frame_rate_hz=video.frame_rate_hz, margin=0.15, smoothing_seconds=1.0
        )
        fine = oversampling_of(windows, SIZE)
        pictures = islice(video.pictures(start=int(track.frames[0])), FRAMES)
        crops = np.stack([cut(p, w, SIZE, fine) for p, w in zip(pictures, windows, strict=False)])
        yield (
            video,
            track,
            windows[:FRAMES],
            crops,
            read_truth(cohort / "truth" / f"{path.stem}.npz"),
        )


def measure_segmenter(name: str, cohort: Path) -> tuple[str, float]:
    segment, knows = made(segmenter_method(name), name)
    overlaps, num_frames, seconds = [], 0, 0.0
    for video, track, windows, crops, truth in walkers(cohort):
        started = time.perf_counter()
        masks = segment(video, track).masks(0, crops, windows)
        seconds += time.perf_counter() - started
        num_frames += len(masks)
        for mask, window, number in zip(masks, windows, track.frames, strict=False):
            true = in_crop(truth.mask[number], window, SIZE)
            overlaps.append(intersection_over_union(mask, true))
    quality = f"mask IoU {np.mean(overlaps):.3f}" if knows else "(random weights)"
    return quality, num_frames / seconds


def measure_flow(name: str, cohort: Path) -> tuple[str, float]:
    flow, knows = made(flow_method(name), name)
    errors, lengths, num_pairs, seconds = [], [], 0, 0.0
    for _, track, windows, crops, truth in walkers(cohort):
        pairs = slice(0, None if knows else 3)
        started = time.perf_counter()
        flows = flow(crops[:-1][pairs], crops[1:][pairs])
        seconds += time.perf_counter() - started
        num_pairs += len(flows)
        for place, found in enumerate(flows):
            number = int(track.frames[place])
            true = flow_in_crops(truth.flow[number], windows[place], windows[place + 1], SIZE)
            body = in_crop(truth.mask[number], windows[place], SIZE) > 0
            errors.append(np.linalg.norm(found - true, axis=-1)[body].mean())
            lengths.append(np.linalg.norm(true, axis=-1)[body].mean())
    known = f"error on the body {np.mean(errors):.2f} px of {np.mean(lengths):.2f} px"
    return known if knows else "(random weights)", num_pairs / seconds


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(measure(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
    else:
        main()
