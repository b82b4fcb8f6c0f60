"""How many requests does a served model answer, how fast, and does its memory stay flat?

A small untrained model is served as users do it (`mlflow models serve --env-manager local`). This
process sends it a thousand requests, one video of a second in each (a body on a wall, 160x96, 25
frames, as base64); every tenth request is bad in one of several ways, among them a file that
announces 500 million frames. Measured: requests per
second, latency, and the memory of the server and of the process that preprocesses its videos. The
networks are tiny, so what is measured is everything but the networks.

    OMP_NUM_THREADS=1 python benchmarks/serving.py --requests 1000 --clients 1
"""

import argparse
import base64
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import numpy as np
import psutil

from tests.preprocess.encode import encode, numbered
from tests.preprocess.films import film, walk, wall, write_video
from tests.preprocess.test_isolated import bomb
from tests.tracking.served import Answer, Server, serve
from tests.tracking.untrained import register_untrained

HEIGHT, WIDTH, NUM_FRAMES = 96, 160, 25
WARM_UP = 20
MEMORY_EVERY = 100  # requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000, help="requests to send")
    parser.add_argument("--clients", type=int, default=1, help="requests in flight at a time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serving_") as name:
        folder = Path(name)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        os.chdir(folder)
        register_untrained(folder / "files", "candidate")
        good, bad = cells(folder)
        with serve(folder / "log", {}) as server:
            measure(server, good, bad, arguments.requests, arguments.clients)


def cells(folder: Path) -> tuple[str, list[str]]:
    """A video of a walk as base64, and cells that are refused."""
    video = write_video(
        folder / "walk.mp4", film(walk(HEIGHT, WIDTH, NUM_FRAMES), wall(HEIGHT, WIDTH))
    )
    good = base64.b64encode(video.read_bytes()).decode()
    wide = encode(folder / "wide.mp4", numbered(2, 16, 4098))
    announces = bomb(folder / "bomb.mp4", 500_000_000)
    return good, [
        "not base64!",
        "/etc/passwd",
        good[: len(good) // 8 * 4],
        base64.b64encode(b"a text").decode(),
        base64.b64encode(wide.read_bytes()).decode(),
        base64.b64encode(announces.read_bytes()).decode(),
    ]


def measure(server: Server, good: str, bad: list[str], num_requests: int, clients: int) -> None:
    """Send requests and print what was measured as a table."""
    for _ in range(WARM_UP):
        _expect(server.classify(good), 200)
    print(f"{num_requests} requests, {clients} at a time; load average {os.getloadavg()[0]:.0f}")
    print("| requests | server MiB | preprocessing MiB | files open | p50 s | p99 s |")
    print("|---|---|---|---|---|---|", flush=True)
    _print_row(0, server, [])
    latencies: list[float] = []

    def send(number: int) -> float:
        began = time.monotonic()
        if number % 10 == 9:
            _expect(server.classify(bad[number // 10 % len(bad)]), 400)
        else:
            _expect(server.classify(good), 200)
        return time.monotonic() - began

    began, waited = time.monotonic(), 0.0
    with ThreadPoolExecutor(clients) as threads:
        for start in range(0, num_requests, MEMORY_EVERY):
            numbers = range(start, min(start + MEMORY_EVERY, num_requests))
            part = list(threads.map(send, numbers))
            latencies += part
            paused = time.monotonic()
            _print_row(numbers.stop, server, part)
            waited += time.monotonic() - paused
    seconds = time.monotonic() - began - waited
    p50, p99 = np.quantile(latencies, [0.5, 0.99])
    print(
        f"{num_requests / seconds:.1f} requests per second, p50 {p50:.3f} s, p99 {p99:.3f} s, "
        f"CPU {_cpu_seconds(server) / num_requests:.3f} s a request; "
        f"load average {os.getloadavg()[0]:.0f}"
    )


def _expect(answer: Answer, status: int) -> None:
    if answer.status != status:
        raise RuntimeError(f"expected {status}, got {answer}")


def _print_row(number: int, server: Server, latencies: list[float]) -> None:
    serving = _scoring(server)
    children = [child.memory_info().rss for child in serving.children(recursive=True)]
    p50, p99 = np.quantile(latencies, [0.5, 0.99]) if latencies else (np.nan, np.nan)
    print(
        f"| {number} | {serving.memory_info().rss / 2**20:.0f} | {max(children) / 2**20:.0f} "
        f"| {serving.num_fds()} | {p50:.3f} | {p99:.3f} |",
        flush=True,
    )


def _scoring(server: Server) -> psutil.Process:
    """The process that answers; the command `mlflow models serve` only waits for it."""
    (process,) = (
        child
        for child in psutil.Process(server.process.pid).children()
        if any("uvicorn" in word for word in child.cmdline())
    )
    return process


def _cpu_seconds(server: Server) -> float:
    """CPU time of the server and its processes, their start and the warm-up included."""
    serving = _scoring(server)
    return sum(
        sum(process.cpu_times()[:2]) for process in [serving, *serving.children(recursive=True)]
    )


if __name__ == "__main__":
    main()
