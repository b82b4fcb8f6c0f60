"""Preprocess a plan in two processes and say what is done: to be stopped by a test."""

import json
import sys
from pathlib import Path

from preprocess.worker import Plan, Result
from preprocess.workers import in_processes

if __name__ == "__main__":
    videos, store, recipe = json.loads(Path(sys.argv[1]).read_text())
    plan = Plan(Path(videos), store, recipe, {}, {}, None)
    for result in in_processes(
        plan, [f"walk{n}.mp4" for n in range(4)], processes=2, lost=Result.lost
    ):
        print(result.video, flush=True)
