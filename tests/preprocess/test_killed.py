"""The command `preprocess`, killed at random moments and run into a full disk."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
import zarr

from asd_experiments.data.storage import StoreError
from asd_experiments.data.store import ClipStore
from tests.preprocess.films import film, walk, wall, write_video

pytestmark = pytest.mark.slow

COMMAND = ("-m", "asd_experiments", "preprocess")
WORK = (
    "-c",
    """
import sys
from asd_experiments.config import PreprocessConfig
from preprocess.cohort import preprocess

names = [word.removeprefix("--") for word in sys.argv[1::2]]
preprocess(PreprocessConfig(**dict(zip(names, sys.argv[2::2], strict=True))))
""",
)
"""The same work without its run in MLflow, which takes seconds to begin."""

NUM_VIDEOS = 6
NUM_KILLS = 20


@dataclass
class Command:
    """`preprocess` of a few short videos into one store."""

    videos: Path
    store: Path
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = COMMAND
    process: subprocess.Popen = field(init=False)

    def start(self) -> None:
        options = {
            "--videos": self.videos,
            "--labels": self.videos / "labels.csv",
            "--store": self.store,
            "--size": 32,
            "--workers": 1,
        }
        tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{self.videos.parent / 'mlflow.db'}"}
        words = [str(word) for option in options.items() for word in option]
        self.process = subprocess.Popen(
            [sys.executable, *self.program, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **tracking, **self.environment},
            cwd=self.videos.parent,
        )

    def run(self) -> tuple[int, str]:
        self.start()
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out + err

    def begin_work(self) -> None:
        """Wait until the store is made, or, where it is there, until the first video's turn."""
        if not self.store.exists():
            while not self.store.exists() and self.process.poll() is None:
                time.sleep(0.001)
        else:
            self.process.stderr.read(1)  # the progress bar

    def kill(self) -> None:
        self.process.kill()
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode in (0, -signal.SIGKILL), out + err

    def finished(self) -> bool:
        try:
            ClipStore(str(self.store))
        except StoreError:
            return False
        return True

    def files(self) -> dict[str, bytes]:
        """Everything in the store but temporary files of killed runs, which nobody reads."""
        paths = [p for p in self.store.rglob("*") if p.is_file() and p.suffix != ".partial"]
        return {str(p.relative_to(self.store)): p.read_bytes() for p in paths}

    def begun(self) -> list[str]:
        """Keys of the videos that are in the store in part."""
        groups = (self.store / "videos").glob("*/")
        return [g.name for g in groups if "committed" not in zarr.open_group(str(g)).attrs]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    rows = []
    for number in range(NUM_VIDEOS):
        scene = wall(72, 120, seed=number)
        write_video(folder / f"{number}.mp4", film(walk(72, 120, 50), scene))
        rows.append({"video": f"{number}.mp4", "patient_id": f"P{number}", "label": "ASD"})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    command = Command(videos, tmp_path_factory.mktemp("undisturbed") / "store.zarr")
    code, output = command.run()
    assert code == 0, output
    return command


def test_twenty_kills_change_nothing(videos: Path, undisturbed: Command, tmp_path: Path) -> None:
    moments = random.Random(0)
    command = Command(videos, tmp_path / "store.zarr", program=WORK)
    num_kills = num_midst = num_finished = 0
    while num_kills < NUM_KILLS:
        command.start()
        command.begin_work()
        time.sleep(moments.uniform(0, 0.4))
        command.kill()
        if command.finished():
            num_finished += 1
            assert command.files() == undisturbed.files()
            shutil.rmtree(command.store)
        else:
            num_kills += 1
            num_midst += bool(command.begun())
    command.program = COMMAND
    code, output = command.run()
    print(f"{num_kills} kills, {num_midst} within a video, {num_finished} stores finished between")
    assert code == 0, output
    assert num_midst >= 8
    assert f"{NUM_VIDEOS} of {NUM_VIDEOS} videos are in" in output
    assert command.files() == undisturbed.files()
    assert ClipStore(str(command.store)).digest == ClipStore(str(undisturbed.store)).digest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by the superuser alone")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def told_in_one_line(output: str, start: str) -> bool:
    """Whether the output ends in such a line, with no traceback and no video taken for bad."""
    *before, last = output.splitlines()
    others = [line for line in before if "Traceback" in line or ".mp4" in line]
    return last.startswith(f"preprocess: {start}") and not others


def test_full_disk_ends_the_run_and_a_rerun_goes_on(
    videos: Path, undisturbed: Command, small_disk: Path
) -> None:
    command = Command(videos, small_disk / "store.zarr")
    code, output = command.run()
    assert code == 1 and told_in_one_line(output, "the disk is full at "), output
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    code, output = command.run()
    assert code == 0, output
    assert f"{NUM_VIDEOS} of {NUM_VIDEOS} videos are in" in output
    assert f"{NUM_VIDEOS} new" not in output, "nothing was kept"
    assert command.files() == undisturbed.files()


def test_full_temporary_disk_is_no_bad_video(
    videos: Path, tmp_path: Path, small_disk: Path
) -> None:
    command = Command(videos, tmp_path / "store.zarr", {"TMPDIR": str(small_disk)})
    code, output = command.run()
    assert code == 1
    assert told_in_one_line(
        output, "pictures cannot be kept in the folder for temporary files: "
    ), output
