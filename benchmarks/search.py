"""What does a sweep cost beside the training, and what does ASHA save?

overhead: seconds per trial of search and tracking, one trial at a time, with an objective that
    trains nothing, but opens its run, logs its parameters and reports 10 epochs. Both engines,
    study and tracking in SQLite, the default sampler. From the beginning of the first trial to the
    end of the last. MLflow's part is what the objective waits for it; the rest of engine=optuna is
    Optuna's; what engine=ray takes beyond both is Ray's.
queue: 1,000 such trials of 20 epochs, 64 at a time (8 processes of 8 threads), tracked straight to
    PostgreSQL, the study in a database of its own there. Is any lost, and does it slow down?
asha: a whole grid on the simulated cohort against the same grid with ASHA, one worker. Goal: the
    best value within 0.01 at a third of the epochs. What other settings of ASHA would have done is
    replayed from the reports of the whole grid: a trial's figures hang on its configuration alone.
start: seconds from the command to the first epoch in MLflow, of one epoch of a few clips: nearly
    the time to the first step. `train` is the yardstick.

    OMP_NUM_THREADS=1 python benchmarks/search.py
    OMP_NUM_THREADS=1 python benchmarks/search.py --parts queue --trials 200 --processes 4
"""

import argparse
import contextlib
import io
import itertools
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import mlflow
import optuna
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from asd_experiments.config import PreprocessConfig, SimulateConfig, SweepConfig
from asd_experiments.data.store import ClipStore
from asd_experiments.demo import demo_store
from asd_experiments.search import study as studies
from asd_experiments.search.choosing import Pruning, pruner_of
from asd_experiments.search.cluster import run_on_ray
from asd_experiments.search.local import Work, run_here, run_trial
from asd_experiments.search.objective import Report, Task
from asd_experiments.search.reader import load_space
from asd_experiments.search.report import run_states
from asd_experiments.search.sweep import sweep
from asd_experiments.simulation.cohort import simulate
from asd_experiments.tracking.runs import (
    child_run,
    command_run,
    log_metrics,
    log_parameters,
    use_tracking_store,
)
from asd_experiments.tracking.sweep import log_sweep_start, settle
from preprocess.cohort import preprocess
from tests.search.services import postgres

INSTANT = """
name: instant
objective: {{metric: val/patient/loss, direction: minimize}}
sampler: {sampler}
budget: {{trials: {trials}}}
fixed: {{epochs: {epochs}, size: 48, width: 0.125}}
parameters:
  learning_rate: {{low: 1e-4, high: 1e-2, log: true}}
"""
GRID = """
name: grid
objective: {{metric: val/patient/loss, direction: minimize}}
sampler: grid
pruner: {pruner}
fixed:
  size: 32
  width: 0.125
  clip_stride: 32
  folds: 2
  inner_folds: 2
  epochs: {epochs}
  patience: {epochs}
parameters:
  fusion: [appearance_only, motion_only, late_average]
  backbone: [c3d_gap, slow_50]
  learning_rate: [1e-3, 3e-3, 1e-2]
"""
FIRST_STEP = """
name: first step
objective: {metric: val/patient/loss, direction: minimize}
budget: {trials: 1}
fixed: {size: 48, width: 0.125, folds: 2, inner_folds: 2, epochs: 1}
parameters:
  learning_rate: [1e-3, 1e-2]
"""
LOSS = "val/clip/loss"
WAITED = "waited_for_mlflow.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--overhead_trials", type=int, default=100)
    parser.add_argument("--trials", type=int, default=1000, help="of queue")
    parser.add_argument("--processes", type=int, default=8, help="of queue, 8 threads each")
    parser.add_argument("--epochs", type=int, default=6, help="of asha")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.logging.disable_default_handler()
    began = time.monotonic()
    demo = Path(demo_store(0)).resolve() if "asha" in options.parts else None
    with tempfile.TemporaryDirectory(prefix="search_") as folder:
        os.chdir(folder)
        stores = Stores(small_store(), demo)
        print("| measured | result |\n|---|---|", flush=True)
        for part in options.parts:
            PARTS[part](options, stores)
        os.chdir("/")
    print(f"seconds: {time.monotonic() - began:.0f} altogether")


@dataclass(frozen=True)
class Stores:
    """Clip stores that sweeps are tried on."""

    small: str
    """A few clips, for what is not about training."""

    demo: Path | None
    """The demo's; None: not needed."""


def small_store() -> str:
    """Simulate and preprocess eight patients."""
    with silence():
        simulate(SimulateConfig(out="videos", patients=8, videos_per_patient=1, seconds=0.8))
        labels, store = "videos/labels.csv", str(Path("store.zarr").resolve())
        preprocess(PreprocessConfig(videos="videos", labels=labels, store=store, size=48))
    return store


def measure_overhead(options: argparse.Namespace, stores: Stores) -> None:
    """Part overhead."""
    text = INSTANT.format(sampler="tpe", trials=options.overhead_trials, epochs=10)
    seconds, waited = {}, {}
    for engine in ("optuna", "ray"):
        place = Path(f"overhead_{engine}").resolve()
        tracking = f"sqlite:///{place}.mlflow.db"
        with begun(text, place, tracking, f"sqlite:///{place}.study.db", stores.small) as work:
            began = time.time()
            with silence():
                run_with(engine, work)
            trials = completed(work.open())
            starts, ends = zip(*map(span, trials), strict=True)
            seconds[engine] = (max(ends) - min(starts)) / len(trials)
            told = (place / WAITED).read_text().split()
            waited[engine] = sum(map(float, told)) / len(trials)
            show(f"{engine}: until the first trial begins", f"{min(starts) - began:.1f} s")
    optuna_part = seconds["optuna"] - waited["optuna"]
    show(
        f"optuna: per trial ({options.overhead_trials}, 10 epochs)",
        f"**{seconds['optuna']:.3f} s**: MLflow {waited['optuna']:.3f}, Optuna {optuna_part:.3f}",
    )
    show(
        "ray: per trial",
        f"**{seconds['ray']:.3f} s**: MLflow {waited['ray']:.3f}, Optuna as above, "
        f"Ray {seconds['ray'] - waited['ray'] - optuna_part:.3f}",
    )


def run_with(engine: str, work: Work) -> None:
    """Run trials one at a time."""
    if engine == "optuna":
        run_here(work, workers=1)
    else:
        run_on_ray(work, address=None, cpus=1, gpus=0, memory_bytes=None, most_at_a_time=1)


def instant(
    task: Task, key: str, parameters: Mapping[str, Any], report: Report
) -> tuple[float, ...]:
    """Do all that a trial does but train; keep how long MLflow took of it."""
    use_tracking_store(task.tracking_uri)
    began, reporting = time.perf_counter(), 0.0
    with child_run(task.sweep_run_id, f"trial {key}", level="trial", key=key) as run_id:
        log_parameters(run_id, parameters)
        for epoch in range(1, parameters["epochs"] + 1):
            loss = 1 / epoch + parameters["learning_rate"]
            log_metrics(run_id, {LOSS: loss}, step=epoch)
            told = time.perf_counter()
            report(epoch, loss)
            reporting += time.perf_counter() - told
    with Path(task.folder, WAITED).open("a") as file:
        file.write(f"{time.perf_counter() - began - reporting}\n")
    return (loss,)


@contextlib.contextmanager
def begun(text: str, place: Path, tracking: str, storage: str, store: str) -> Iterator[Work]:
    """A sweep whose trials wait, with an objective that trains nothing."""
    place.mkdir()
    file = place / "space.yaml"
    file.write_text(text)
    space = load_space(file)
    use_tracking_store(tracking)
    with command_run(None, space.name) as run_id:
        log_sweep_start(run_id, {}, file, ClipStore(store))
        study = studies.make_study(storage, run_id, {"loss": "minimize"})
        studies.enqueue(study, [{}] * (space.num_trials or 0))
        task = Task(
            sweep_run_id=run_id,
            tracking_uri=tracking,
            store=store,
            is_demo=False,
            folder=str(place),
            device="cpu",
            loader_workers=0,
            metrics=("val/patient/loss",),
        )
        yield Work(task, space, storage, study=run_id, pruning=None, run=instant)


THREADS = 8


def measure_queue(options: argparse.Namespace, stores: Stores) -> None:
    """Part queue."""
    text = INSTANT.format(sampler="random", trials=options.trials, epochs=20)
    with postgres(max_connections=400) as database:
        tracking = database("mlflow").replace("postgresql://", "postgresql+psycopg://")
        place = Path("queue").resolve()
        with begun(text, place, tracking, database("optuna"), stores.small) as work:
            context = multiprocessing.get_context("spawn")
            ready = context.Barrier(options.processes + 1)
            processes = [
                context.Process(target=work_in_threads, args=(work, ready))
                for _ in range(options.processes)
            ]
            for process in processes:
                process.start()
            ready.wait()
            began = time.monotonic()
            for process in processes:
                process.join()
            seconds = time.monotonic() - began
            at_once = options.processes * THREADS
            show(
                f"{options.trials} trials, {at_once} at once",
                f"**{seconds:.0f} s**, {seconds / options.trials:.3f} s per trial",
            )
            check_queue(work, options.trials)


def work_in_threads(work: Work, ready: Barrier) -> None:
    """Take one trial after the other in every thread, until none waits."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = work.open()
    use_tracking_store(work.task.tracking_uri)
    MlflowClient().get_run(work.task.sweep_run_id)  # connects

    def take_all(_: int) -> None:
        while (trial := studies.claim(study)) is not None:
            run_trial(work, study, trial)

    ready.wait()
    with silence(), ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(take_all, range(THREADS)))


def check_queue(work: Work, expected: int) -> None:
    """Show whether anything was lost or doubled, and whether the end was slower than the start."""
    study = work.open()
    states = Counter(trial.state.name for trial in study.get_trials(deepcopy=False))
    runs = runs_below(work.task.sweep_run_id)
    keys = Counter(run.data.tags["asd.trial"] for run in runs)
    client = MlflowClient()
    steps = [
        [point.step for point in client.get_metric_history(run.info.run_id, LOSS)] for run in runs
    ]
    show("trials in the study", told(states))
    show("runs in MLflow", told(Counter(run.info.status for run in runs)))
    show(
        "trials without a run, with two",
        f"{expected - len(keys)}, {sum(count > 1 for count in keys.values())}",
    )
    complete = sum(sorted(found) == list(range(1, 21)) for found in steps)
    show("runs with each of 20 points once", f"{complete} of {len(runs)}")
    ends = sorted(span(trial)[1] for trial in completed(study))
    first = min(span(trial)[0] for trial in completed(study))
    quarter = len(ends) // 4
    show(
        "seconds per trial, first and last quarter",
        f"{(ends[quarter - 1] - first) / quarter:.3f}, "
        f"{(ends[-1] - ends[-quarter - 1]) / quarter:.3f}",
    )
    began = time.monotonic()
    settle(work.task.sweep_run_id, run_states(study))
    show("settle all runs at the end", f"{time.monotonic() - began:.1f} s")


def measure_asha(options: argparse.Namespace, stores: Stores) -> None:
    """Part asha."""
    rules = {"whole grid": "none", "ASHA": "{name: asha, min_epochs: 2, reduction_factor: 3}"}
    trials, seconds = {}, {}
    for name, rule in rules.items():
        text = GRID.format(pruner=rule, epochs=options.epochs)
        trials[name], seconds[name] = swept(text, str(stores.demo))
        best, epochs = min(map(value_of, trials[name])), sum(map(epochs_of, trials[name]))
        finished = sum(trial.state == TrialState.COMPLETE for trial in trials[name])
        show(
            f"{name}: best val/patient/loss",
            f"{best:.4f} of {len(trials[name])} trials ({finished} to the end), {epochs} epochs, "
            f"{seconds[name]:.0f} s",
        )
    whole, stopped = trials["whole grid"], trials["ASHA"]
    show(
        "ASHA / whole grid",
        f"best {min(map(value_of, stopped)) - min(map(value_of, whole)):+.4f}, "
        f"epochs **{sum(map(epochs_of, stopped)) / sum(map(epochs_of, whole)):.2f}**, "
        f"seconds {seconds['ASHA'] / seconds['whole grid']:.2f}",
    )
    for first, keeps in itertools.product((1, 2, 3), (2, 3, 4)):
        show_replays(whole, Pruning(first, 2 * options.epochs, keeps, brackets=1))


def swept(text: str, store: str) -> tuple[list[FrozenTrial], float]:
    """Run a sweep with one worker; its trials and their seconds."""
    Path("space.yaml").write_text(text)
    use_tracking_store(f"sqlite:///{Path('asha.db').resolve()}")
    with silence():
        run_id = sweep(SweepConfig(space="space.yaml", store=store, engine="optuna", device="cpu"))
    study = studies.open_study(f"sqlite:///outputs/sweeps/{run_id}/study.db", run_id)
    trials = study.get_trials()
    return trials, sum(end - start for start, end in map(span, trials))


def show_replays(trials: list[FrozenTrial], pruning: Pruning) -> None:
    """Show what ASHA would have made of trials, in their own order and in random ones."""
    best, epochs = min(map(value_of, trials)), sum(map(epochs_of, trials))
    replays = [replayed(trials, pruning)]
    for seed in range(100):
        replays.append(replayed(random.Random(seed).sample(trials, len(trials)), pruning))
    shares, losses = [used / epochs for _, used in replays], [value - best for value, _ in replays]
    near = sum(loss <= 0.01 for loss in losses[1:])
    reached = sum(
        loss <= 0.01 and share <= 1 / 3 for loss, share in zip(losses, shares, strict=True)
    )
    show(
        f"replayed: min_epochs {pruning.first}, reduction_factor {pruning.keeps_one_in}",
        f"best {losses[0]:+.4f}, epochs {shares[0]:.2f}; 100 random orders: within 0.01 in {near}, "
        f"epochs {statistics.median(shares[1:]):.2f} (median), both in {reached}",
    )


def replayed(trials: list[FrozenTrial], pruning: Pruning) -> tuple[float, int]:
    """Report finished trials one after the other to a pruner; the best value left, the epochs."""
    study = optuna.create_study(pruner=pruner_of(pruning))
    for finished in trials:
        trial = study.ask()
        for step, loss in sorted(finished.intermediate_values.items()):
            trial.report(loss, step)
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, value_of(finished))
    return study.best_value, sum(map(epochs_of, study.get_trials()))


def value_of(trial: FrozenTrial) -> float:
    """Value of a finished trial; of another, none that is the best."""
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return float("inf")
    return trial.value


def epochs_of(trial: FrozenTrial) -> int:
    return len(trial.intermediate_values)


def measure_start(options: argparse.Namespace, stores: Stores) -> None:
    """Part start."""
    Path("first.yaml").write_text(FIRST_STEP)
    network = ["--size", "48", "--width", "0.125", "--folds", "2", "--inner_folds", "2"]
    commands = {
        "train": ["train", "--epochs", "1", "--loader_workers", "0", *network],
        "sweep, engine=optuna": ["sweep", "--space", "first.yaml", "--engine", "optuna"],
        "sweep, engine=ray": ["sweep", "--space", "first.yaml", "--engine", "ray"],
    }
    for number, (name, words) in enumerate(commands.items()):
        tracking = f"sqlite:///{Path(f'start_{number}.db').resolve()}"
        use_tracking_store(tracking)
        MlflowClient().search_experiments()  # a new database takes seconds to make
        began = time.time()
        subprocess.run(
            [sys.executable, "-m", "asd_experiments", *words, "--store", stores.small],
            env={**os.environ, "MLFLOW_TRACKING_URI": tracking},
            check=True,
            capture_output=True,
        )
        ended = time.time()
        runs = {run.data.tags["asd.level"]: run for run in mlflow_runs("")}
        (fold,) = mlflow_runs("tags.`asd.fold` = '1'")
        (epoch,) = MlflowClient().get_metric_history(fold.info.run_id, LOSS)
        top = runs.get("sweep", runs["trial"])
        show(
            f"{name}: until the first epoch is logged",
            f"**{epoch.timestamp / 1000 - began:.1f} s**: its run begins after "
            f"{top.info.start_time / 1000 - began:.1f} s, the trial's after "
            f"{runs['trial'].info.start_time / 1000 - began:.1f} s; all done after "
            f"{ended - began:.1f} s",
        )


def runs_below(parent: str) -> list[Run]:
    return mlflow_runs(f"tags.`mlflow.parentRunId` = '{parent}'")


def mlflow_runs(rule: str) -> list[Run]:
    runs: list[Run] = mlflow.search_runs(
        search_all_experiments=True, filter_string=rule, output_format="list"
    )
    return runs


def completed(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def span(trial: FrozenTrial) -> tuple[float, float]:
    """When a trial began and ended, seconds since the epoch."""
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    return trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()


def told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what is told on the way out of the table."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def show(measured: str, result: str) -> None:
    print(f"| {measured} | {result} |", flush=True)


PARTS: dict[str, Callable[[argparse.Namespace, Stores], None]] = {
    "overhead": measure_overhead,
    "queue": measure_queue,
    "asha": measure_asha,
    "start": measure_start,
}

if __name__ == "__main__":
    main()
