"""What the plugins cost a program that only imports MLflow: CPU seconds, with and without them.

`python benchmarks/plugins.py --repeats 5`
"""

import argparse
import json
import statistics
import subprocess
import sys

_WITHOUT = """
import importlib.metadata as metadata
known = metadata.entry_points
def others(**asked):
    found = known(**asked)
    return metadata.EntryPoints(e for e in found if not e.value.startswith("asd_experiments."))
metadata.entry_points = others
"""
_MEASURE = """
import json, os, sys
before = sum(os.times()[:2])
import mlflow
seconds = sum(os.times()[:2]) - before
ours = sorted(name for name in sys.modules if name.startswith("asd_experiments"))
print(json.dumps([seconds, ours]))
"""


def measured(program: str) -> tuple[float, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    seconds, ours = json.loads(done.stdout)
    return seconds, ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    programs = {"without": _WITHOUT + _MEASURE, "with": _MEASURE}
    for program in programs.values():  # once for the disk
        measured(program)
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            seconds, ours = measured(program)
            assert bool(ours) == (name == "with"), ours
            taken[name].append(seconds)
    for name, values in taken.items():
        low, high = min(values), max(values)
        print(f"{name}: median {statistics.median(values):.2f} s, {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
