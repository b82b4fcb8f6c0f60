"""How fast does every backbone train, and in how much memory?

A row is one backbone in one way of computing: one two-stream network (`late_average`: appearance
and motion), one training step (forward, loss, backward, AdamW) on clips of noise, in a process of
its own, so that its peak memory is its own. On a CPU that is the peak of the whole process less
what it held before the network was built; on a GPU what PyTorch allocated. Throughput is the
median of the timed steps; compiling is left to the warm-up and not counted.

GMAC: multiply-accumulates of one clip's forward pass through both streams, by PyTorch's counter.
Share of the peak: three times that (a backward pass costs two forward ones), against the dense
peak of the card in that arithmetic as its maker states it, where it is known.

    OMP_NUM_THREADS=1 python benchmarks/models.py --device cpu --clip_length 8 --size 56
    python benchmarks/models.py --device cuda --batch_size 16
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from asd_experiments.models.backbones import BACKBONES
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
        "bf16, channels_last_3d": {"bf16": True, "channels_last": True},
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
    parser.add_argument("--limit_seconds", type=float, default=300, help="longest time of a row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(options)))
        return
    print("| backbone | clip | GMAC | way | clips/s | against fp32 | peak MiB | share of peak |")
    print("|---|---|---|---|---|---|---|---|")
    for backbone in options.backbones:
        baseline = None
        for way in WAYS[options.device]:
            row = in_own_process(backbone, way, options)
            if "error" in row:
                print(f"| {backbone} | | | {way} | {row['error']} | | | |", flush=True)
                continue
            baseline = baseline or row["clips_per_second"]
            share = f"{row['share']:.1%}" if row["share"] else ""
            print(
                f"| {backbone} | {row['clip']} | {row['gmac']:.1f} | {way} "
                f"| {row['clips_per_second']:.2f} | {row['clips_per_second'] / baseline:.2f} "
                f"| {row['mebibytes']:.0f} | {share} |",
                flush=True,
            )


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


def measure(options: argparse.Namespace) -> dict:
    way = WAYS[options.device][options.row]
    (backbone,) = options.backbones
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = "tf32" in way
    size = max(options.size, BACKBONES[backbone].min_size)
    shape = (max(options.clip_length, BACKBONES[backbone].min_clip_length), size, size)
    before = resident_mebibytes()
    network = build_two_stream(
        backbone=backbone,
        fusion="late_average",
        num_classes=2,
        clip_length=shape[0],
        size=size,
        width=options.width,
        dropout=0.5,
    ).to(options.device)
    gmac = count_gmac(network, shape, options.device)
    layout = torch.channels_last_3d if "channels_last" in way else torch.contiguous_format
    network = network.train().to(memory_format=layout)
    clips = [
        torch.randn(options.batch_size, channels, *shape, device=options.device).to(
            memory_format=layout
        )
        for channels in STREAM_CHANNELS.values()
    ]
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
    return statistics.median(seconds[1:])


def count_gmac(network: TwoStream, shape: tuple[int, int, int], device: str) -> float:
    """Count the forward pass of one clip."""
    network = network.eval()
    clip = [torch.zeros(1, channels, *shape, device=device) for channels in (3, 2)]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*clip)
    return counter.get_total_flops() / 2 / 1e9


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
