import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_writer import StoreWriter
from preprocess.cohort import preprocess
from preprocess.dispatch import WORKER_DIED
from preprocess.pipeline import Preprocessor
from preprocess.worker import Plan, Result
from preprocess.workers import WorkersError, in_processes, num_workers
from tests.preprocess.films import film, walk, wall, write_cohort
from tests.preprocess.gates import Gate, in_background

HEIGHT, WIDTH = 96, 160


def walks(count: int, num_frames: int = 30) -> dict[str, object]:
    return {
        f"walk{n}.mp4": film(walk(HEIGHT, WIDTH, num_frames), wall(HEIGHT, WIDTH, seed=n))
        for n in range(count)
    }


def plan_of(config: PreprocessConfig) -> Plan:
    """A plan as `preprocess` makes it, its store made."""
    preprocessor = Preprocessor(config.recipe)
    StoreWriter(config.store, preprocessor.recipe, preprocessor.backends)
    return Plan(Path(config.videos), config.store, config.recipe, {}, preprocessor.libraries, None)


def no_children() -> bool:
    return not multiprocessing.active_children()


def test_a_worker_imports_no_heavy_library() -> None:
    """It would wait for pandas or PyTorch longer than for a short video."""
    code = (
        "import sys, preprocess.workers, preprocess.people.motion, preprocess.flow.dis\n"
        "print('pandas' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.slow
def test_several_workers_give_what_one_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = [np.zeros((HEIGHT, WIDTH), np.uint8)] * 30
    empty = {f"empty{n}.mp4": film(nobody, wall(HEIGHT, WIDTH, seed=n)) for n in (1, 2)}
    alone = write_cohort(tmp_path, {**empty, **walks(3)})
    several = replace(alone, workers=2, store=str(tmp_path / "several.zarr"))
    outcomes, printed = [], []
    for config in (alone, several):
        outcomes.append(preprocess(config))
        lines = capsys.readouterr().out.splitlines()
        printed.append(sorted(line for line in lines if line.startswith("row ")))
    assert outcomes[1].labels.equals(outcomes[0].labels)
    assert outcomes[1].failures == outcomes[0].failures
    assert [f["video"] for f in outcomes[1].failures] == ["empty1.mp4", "empty2.mp4"]
    assert outcomes[1].num_new == outcomes[0].num_new == 3
    assert printed[1] == printed[0] and len(printed[0]) == 2
    assert ClipStore(several.store).digest == ClipStore(alone.store).digest
    assert preprocess(several).num_new == 0
    assert no_children()


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_and_a_deadly_video_only_itself(tmp_path: Path) -> None:
    config = write_cohort(tmp_path, walks(4))
    once, always = Gate(tmp_path / "walk0.mp4"), Gate(tmp_path / "walk1.mp4")

    def kill_once() -> None:
        once.kill_reader()
        once.open()

    def kill_always() -> None:
        always.kill_reader()
        always.kill_reader()

    killers = [in_background(kill_once), in_background(kill_always)]
    names = [f"walk{n}.mp4" for n in range(4)]
    results = {
        r.video: r for r in in_processes(plan_of(config), names, processes=2, lost=Result.lost)
    }
    for killer in killers:
        killer.join(timeout=60)
        assert not killer.is_alive()
    assert results["walk1.mp4"].reason == WORKER_DIED
    assert [name for name in names if results[name].is_new] == [names[0], names[2], names[3]]
    assert no_children()


class Broken(dict[str, object]):
    """A recipe that a worker stumbles over."""

    def keys(self) -> None:  # type: ignore[override]
        raise TypeError("a bug")


def test_bug_in_a_worker_ends_the_run_with_its_traceback(tmp_path: Path) -> None:
    config = write_cohort(tmp_path, walks(1))
    plan = replace(plan_of(config), recipe=Broken(config.recipe))
    with pytest.raises(TypeError, match="a bug") as caught:
        list(in_processes(plan, ["walk0.mp4", "walk1.mp4"], processes=2, lost=Result.lost))
    assert "recipe.keys()" in str(caught.value.__cause__)
    assert no_children()


class Deadly:
    """Kills the process that unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (1,)


def test_workers_that_die_before_they_begin_are_an_error(tmp_path: Path) -> None:
    plan = Plan(tmp_path, "none", {"size": Deadly()}, {}, {}, None)
    with pytest.raises(WorkersError, match="worker processes die before they begin"):
        list(in_processes(plan, ["a.mp4", "b.mp4"], processes=2, lost=Result.lost))
    assert no_children()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_run_leaves_no_process_and_keeps_what_is_stored(
    tmp_path: Path, stop: signal.Signals
) -> None:
    config = write_cohort(tmp_path, walks(4))
    gates = [Gate(tmp_path / f"walk{n}.mp4") for n in (1, 2)]
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps([config.videos, config.store, config.recipe]))
    plan_of(config)
    command = [sys.executable, "-m", "tests.preprocess.stoppable", str(plan)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"walk0.mp4\n"
        for gate in gates:
            gate.wait()
        run.send_signal(stop)
        assert run.wait(timeout=20) != 0
        assert ended(run.pid)
    for gate in gates:
        gate.open()
    assert preprocess(config).num_new == 3


def ended(group: int) -> bool:
    """Whether every process of a group ends soon."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert num_workers(None, 100, device=None) == 6
    assert num_workers(None, 4, device="cpu") == 4
    assert num_workers(3, 2, device=None) == 2
    assert num_workers(None, 100, device="cuda") == 1
    assert num_workers(3, 100, device="cuda") == 3


def test_number_of_workers_where_the_system_does_not_say_which_cores_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert num_workers(None, 100, device=None) == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_workers(None, 100, device=None) == 1
