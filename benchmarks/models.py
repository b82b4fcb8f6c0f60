"""How fast does every backbone train, and in how much memory?

A row is one backbone in one way of computing: one two-stream network (`late_average`: appearance
and motion), one training step (forward, loss, backward, AdamW) on clips of noise. Throughput is the
median of the timed steps; compiling and tuning are left to the warm-up and not counted. On a CPU
every row has a process of its own, whose peak memory is that of the whole process less what it held
before the network was built; on a GPU it is what PyTorch allocated.

GMAC: multiply-accumulates of one clip's forward pass through both streams, by PyTorch's counter.
Share of the peak: three times that (a backward pass costs two forward ones), against the dense
peak of the card in that arithmetic as its maker states it, where it is known.

    OMP_NUM_THREADS=1 python benchmarks/models.py --device cpu --clip_length 8 --size 56
    python benchmarks/models.py --device cuda --batch_size 16 --steps 6

What a card of 12 GB can train at batch one, the longest and largest clips of the search:

    python benchmarks/models.py --device cuda --batch_size 1 --clip_length 64 --size 224 \
        --memory_gib 12 --ways bf16 "bf16, checkpointing"
"""

import argparse
import json
import resource
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

import torch
from torch.nn import functional

from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.memory_layout import lay_out
from asd_experiments.models.size import model_size
from asd_experiments.models.two_stream import STREAM_CHANNELS, TwoStream, build_two_stream

WAYS = {
    "cpu": {
        "fp32": {},
        "bf16 autocast": {"bf16": True},
        "fp32, channels_last_3d": {"channels_last": True},
        "fp32, compile": {"compile": True},
    },
    "cuda": {
        "fp32": {},
        "TF32": {"tf32": True},
        "bf16": {"bf16": True},
        "bf16, deterministic": {"bf16": True, "deterministic": True},
        "bf16, cudnn.benchmark": {"bf16": True, "tuned": True},
        "bf16, channels_last_3d": {"bf16": True, "channels_last": True},
        "bf16, checkpointing": {"bf16": True, "checkpointing": True},
        "bf16, compile": {"bf16": True, "compile": True},
        "bf16, channels_last_3d, compile": {"bf16": True, "channels_last": True, "compile": True},
    },
}
PEAK_TERAFLOPS = {  # dense, (fp32, TF32, bf16), from the makers' data sheets
    "H100 80GB HBM3": (67, 495, 989),
    "H200": (67, 495, 989),
    "A100": (19.5, 156, 312),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--backbones", nargs="+", choices=tuple(BACKBONES), default=list(BACKBONES))
    parser.add_argument("--clip_length", type=int, default=16)
    parser.add_argument("--size", type=int, default=112, help="raised to what a backbone needs")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="timed steps, after one that is not")
    parser.add_argument("--ways", nargs="+", help="ways of computing; all of the device's if none")
    parser.add_argument("--memory_gib", type=float, help="use no more of the GPU's memory")
    parser.add_argument("--limit_seconds", type=float, default=300, help="longest time of a row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(options.backbones[0], options.row, options)))
        return
    on_gpu = options.device == "cuda"
    if on_gpu:
        print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
        if options.memory_gib:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(options.memory_gib * 2**30 / total)
    print(
        "| backbone | clip | GMAC | way | clips/s | against the first | peak MiB | share of peak |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for backbone in options.backbones:
        first = None
        for way in options.ways or WAYS[options.device]:
            row = (in_this_process if on_gpu else in_own_process)(backbone, way, options)
            if "error" in row:
                print(f"| {backbone} | | | {way} | {row['error']} | | | |", flush=True)
                continue
            first = first or row["clips_per_second"]
            share = f"{row['share']:.1%}" if row["share"] else ""
            print(
                f"| {backbone} | {row['clip']} | {row['gmac']:.1f} | {way} "
                f"| {row['clips_per_second']:.2f} | {row['clips_per_second'] / first:.2f} "
                f"| {row['mebibytes']:.0f} | {share} |",
                flush=True,
            )


def in_this_process(backbone: str, way: str, options: argparse.Namespace) -> dict:
    try:
        with limit(options.limit_seconds):
            return measure(backbone, way, options)
    except (RuntimeError, TimeoutError) as error:
        return {"error": str(error).splitlines()[0][:80]}
    finally:
        torch.compiler.reset()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


@contextmanager
def limit(seconds: float):
    def stop(*_):
        raise TimeoutError(f"more than {seconds:.0f} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(round(seconds))
    try:
        yield
    finally:
        signal.alarm(0)


def in_own_process(backbone: str, way: str, options: argparse.Namespace) -> dict:
    names = ("device", "clip_length", "size", "width", "batch_size", "steps")
    given = [word for name in names for word in (f"--{name}", str(getattr(options, name)))]
    command = [sys.executable, __file__, *given, "--backbones", backbone, "--row", way]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=options.limit_seconds
        )
    except subprocess.TimeoutExpired:
        return {"error": f"more than {options.limit_seconds:.0f} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["killed"])[-1][:80]}
    return json.loads(done.stdout.splitlines()[-1])


def measure(backbone: str, name: str, options: argparse.Namespace) -> dict:
    way = WAYS[options.device][name]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = "tf32" in way
    torch.backends.cudnn.benchmark = "tuned" in way
    torch.use_deterministic_algorithms("deterministic" in way, warn_only=True)
    size = max(options.size, BACKBONES[backbone].min_size)
    shape = (max(options.clip_length, BACKBONES[backbone].min_clip_length), size, size)
    gmac = gmacs_of(backbone, shape, options.width)
    before = resident_mebibytes()
    with torch.device(options.device):
        network = build(backbone, shape, options.width).train()
        network.gradient_checkpointing = "checkpointing" in way
        clips = [
            torch.randn(options.batch_size, channels, *shape)
            for channels in STREAM_CHANNELS.values()
        ]
    lay_out(network, channels_last="channels_last" in way)
    seconds = time_steps(network, clips, way, options)
    clips_per_second = options.batch_size / seconds
    on_gpu = options.device == "cuda"
    return {
        "clip": f"{shape[0]}x{size}x{size}",
        "gmac": gmac,
        "clips_per_second": clips_per_second,
        "mebibytes": (
            torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_mebibytes() - before
        ),
        "share": clips_per_second * 6 * gmac / 1000 / peak_teraflops(way) if on_gpu else None,
    }


def build(backbone: str, shape: tuple[int, int, int], width: float) -> TwoStream:
    return build_two_stream(
        backbone=backbone,
        fusion="late_average",
        num_classes=2,
        clip_length=shape[0],
        size=shape[1],
        width=width,
        dropout=0.5,
    )


def time_steps(
    network: TwoStream, clips: list[torch.Tensor], way: dict, options: argparse.Namespace
) -> float:
    labels = torch.arange(options.batch_size, device=options.device) % 2
    optimizer = torch.optim.AdamW(network.parameters())
    run = torch.compile(network) if "compile" in way else network
    seconds = []
    for _ in range(options.steps + 1):
        began = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(options.device, torch.bfloat16) if "bf16" in way else nullcontext():
            scores = run(*clips)
        functional.cross_entropy(scores.fused.float(), labels).backward()
        optimizer.step()
        if options.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:] or seconds)


@cache
def gmacs_of(backbone: str, shape: tuple[int, int, int], width: float) -> float:
    with torch.device("meta"):
        network = build(backbone, shape, width)
    return model_size(network, *((channels, *shape) for channels in STREAM_CHANNELS.values())).gmacs


def peak_teraflops(way: dict) -> float:
    name = torch.cuda.get_device_name()
    arithmetic = 2 if "bf16" in way else 1 if "tf32" in way else 0
    known = [peaks[arithmetic] for card, peaks in PEAK_TERAFLOPS.items() if card in name]
    return known[0] if known else float("inf")


def resident_mebibytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
