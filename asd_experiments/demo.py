"""The main job without data: a simulated cohort, small enough for two cores."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import asd_experiments
from asd_experiments.config import PreprocessConfig, SimulateConfig
from asd_experiments.data.storage import StoreError
from asd_experiments.data.store import ClipStore
from asd_experiments.simulation.cohort import simulate
from preprocess.cohort import preprocess

FOLDER = Path("outputs") / "demo"

DEMO_DEFAULTS: dict[str, object] = {
    "size": 48,
    "width": 0.125,
    "epochs": 10,
    "patience": 10,
    "learning_rate": 3e-3,
    "anonymise": False,
}
"""What a user who gives no store leaves open: a network that a laptop trains in minutes."""

_COHORT = SimulateConfig(out="-", patients=64, videos_per_patient=1, seconds=1.44, effect=1.3)
_STORE = PreprocessConfig(videos="-", labels="-", size=48)


def demo_store(seed: int) -> str:
    """Simulate and preprocess the demo's cohort; what was done before is not done again.

    Args:
        seed: Seed of the cohort.

    Returns:
        Path of the clip store.
    """
    made_by = repr((asd_experiments.__version__, _COHORT, _STORE, seed))
    folder = FOLDER / hashlib.sha256(made_by.encode()).hexdigest()[:12]
    store, videos = str(folder / "store.zarr"), folder / "videos"
    try:
        ClipStore(store)
    except StoreError:
        print(f"No store given: simulating {_COHORT.patients} patients into {folder}.")
        if not (videos / "labels.csv").is_file():  # the last thing that is written
            shutil.rmtree(videos, ignore_errors=True)
            simulate(replace(_COHORT, out=str(videos), seed=seed))
        labels = str(videos / "labels.csv")
        preprocess(replace(_STORE, videos=str(videos), labels=labels, store=store))
    return store
