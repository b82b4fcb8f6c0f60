"""A logged model without a training: small networks with fresh weights answer as well as others."""

from pathlib import Path

import mlflow
import pandas as pd
import torch
from mlflow.tracking import MlflowClient

from asd_experiments.config import REGISTERED_MODEL, PreprocessConfig
from asd_experiments.models.two_stream import build_two_stream
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.model_spec import ModelSpec
from asd_experiments.tracking.model_writer import TrialModelWriter
from asd_experiments.tracking.runs import MODEL, command_run
from tests.preprocess.films import SIZE

SPEC = ModelSpec(
    network={
        **{"backbone": "slow_50", "motion_backbone": None, "fusion": "late_average"},
        **{"clip_length": 8, "size": 32, "width": 0.125, "dropout": 0.5},
    },
    classes=["ASD", "non_ASD"],
    positive_class="ASD",
    thresholds={"0": 0.4, "1": 0.55},
    clip_stride=8,
    segmentation=True,
    normalisation={"mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2)},
    recipe=PreprocessConfig(videos="-", labels="-", size=SIZE).recipe,
    folds=2,
    temperatures={"0": 1.5, "1": 0.8},
    frame_rate_hz=25.0,
    training_videos=["ab" * 32],
    figures={
        "test/patient/auroc": 0.9,
        "test/patient/auroc_ci_low": 0.8,
        "test/patient/auroc_ci_high": 0.95,
    },
)


def log_untrained(folder: Path, **changes: object) -> str:
    """Log a model with the run of its trial, in which the patients T1 and T2 were.

    Args:
        folder: Folder for its files, to be made.
        changes: Fields of `SPEC` that are others.

    Returns:
        Id of the run.
    """
    folder.mkdir()
    writer = TrialModelWriter(folder)
    for number in range(SPEC.folds):
        torch.manual_seed(number)
        writer.add(number, build_two_stream(**SPEC.network, num_classes=len(SPEC.classes)))
    client = MlflowClient()
    with command_run("a trial", "") as run_id:
        client.set_tag(run_id, "asd.level", "trial")
        manifest = {"fold": [0, 1], "split": ["test", "test"], "patient_id": ["T1", "T2"]}
        log_table(run_id, pd.DataFrame({**manifest, "label": SPEC.classes}), "folds.csv")
        spec = ModelSpec(**{**vars(SPEC), "run_id": run_id, **changes})
        client.set_tag(run_id, MODEL, writer.log(spec, {}))
    return run_id


def register_untrained(folder: Path, alias: str) -> str:
    """Log such a model and register it under an alias; the id of its run.

    Args:
        folder: See `log_untrained`.
        alias: Alias of the version.
    """
    run_id = log_untrained(folder)
    client = MlflowClient()
    version = mlflow.register_model(client.get_run(run_id).data.tags[MODEL], REGISTERED_MODEL)
    client.set_registered_model_alias(REGISTERED_MODEL, alias, version.version)
    return run_id
