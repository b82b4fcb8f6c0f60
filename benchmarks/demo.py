"""Is the demo's result plainly above chance and below one, whatever the seed?

Measures: the patient-level test AUROC of the main job without data (`make train`) for several
seeds; each seed has its own cohort, folds, weights and augmentation. Nothing is kept.

    python benchmarks/demo.py --seeds 5
"""

import argparse
import os
import tempfile
import time

import pandas as pd

from asd_experiments.config import TrainConfig, close_defaults
from asd_experiments.data.store import ClipStore
from asd_experiments.demo import DEMO_DEFAULTS, demo_store
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.metrics import evaluate
from asd_experiments.training.cross_validation import CrossValidation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    arguments = parser.parse_args()
    print("| seed | test/patient/auroc [95 % CI] | val/patient/auroc | seconds |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="demo_") as folder:
        os.chdir(folder)  # the demo's cohort is made in the folder where it runs
        for seed in range(arguments.seeds):
            began = time.monotonic()
            metrics = train_demo(seed)
            low, high = (metrics[f"test/patient/auroc_ci_{end}"] for end in ("low", "high"))
            print(
                f"| {seed} | {metrics['test/patient/auroc']:.3f} [{low:.3f}, {high:.3f}] "
                f"| {metrics['val/patient/auroc']:.3f} | {time.monotonic() - began:.0f} |",
                flush=True,
            )


def train_demo(seed: int) -> dict[str, float]:
    """Do what `train` does without a store, and compute what it logs."""
    settings = TrainConfig(store=demo_store(seed), seed=seed)
    config = close_defaults(settings, **DEMO_DEFAULTS)
    validation = CrossValidation(config, ClipStore(str(config.store)))
    results = [validation.fit(fold, lambda *_: None) for fold in range(validation.num_folds)]
    table = pd.concat([result.predictions for result in results], ignore_index=True)
    return evaluate(Predictions(table, validation.classes, config.positive_class))


if __name__ == "__main__":
    main()
