"""A logged model whose networks are as they were made, and made-up videos for it."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient

from asd_experiments.config import PreprocessConfig
from asd_experiments.models.two_stream import build_two_stream
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.model_card import ModelCard
from asd_experiments.tracking.model_writer import TrialModelWriter
from asd_experiments.tracking.runs import MODEL, command_run, use_tracking_store
from tests.preprocess.films import SIZE, film, walk, wall, write_video
from tests.tracking.conftest import project_folder

__all__ = ["project_folder"]

NETWORK = {
    **{"backbone": "slow_50", "motion_backbone": None, "fusion": "late_average"},
    **{"clip_length": 8, "size": 32, "width": 0.125, "dropout": 0.5},
}
TRAINED_ON = "ab" * 32
PREPROCESSING = {
    "backends": {},
    "recipe": PreprocessConfig(videos="-", labels="-", size=SIZE).recipe,
}
CARD = ModelCard(
    network=NETWORK,
    classes=["ASD", "non_ASD"],
    positive_class="ASD",
    thresholds={"0": 0.4, "1": 0.55},
    clip_stride=8,
    segmentation=True,
    normalisation={"mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2)},
    folds=2,
    temperatures={"0": 1.5, "1": 0.8},
    frame_rate_hz=25.0,
    training_videos=[TRAINED_ON],
    figures={
        "test/patient/auroc": 0.9,
        "test/patient/auroc_ci_low": 0.8,
        "test/patient/auroc_ci_high": 0.95,
    },
    **PREPROCESSING,
)


def log_model(folder: Path, **changes: object) -> str:
    """Log a model of two networks with the run of its trial; the run's id."""
    folder.mkdir()
    writer = TrialModelWriter(folder)
    for number in (0, 1):
        torch.manual_seed(number)
        writer.add(number, build_two_stream(**NETWORK, num_classes=2))
    client = MlflowClient()
    with command_run("a trial", "") as run_id:
        client.set_tag(run_id, "asd.level", "trial")
        manifest = {"fold": [0, 1], "split": ["test", "test"], "patient_id": ["T1", "T2"]}
        log_table(run_id, pd.DataFrame({**manifest, "label": CARD.classes}), "folds.csv")
        card = ModelCard(**{**vars(CARD), "run_id": run_id, **changes})
        client.set_tag(run_id, MODEL, writer.log(card, {}))
    return run_id


@pytest.fixture(scope="module")
def trial(project_folder: Path) -> str:
    """Run of the trial whose model is registered as `asd-two-stream` and the champion."""
    use_tracking_store()
    run_id = log_model(project_folder / "networks")
    address = MlflowClient().get_run(run_id).data.tags[MODEL]
    version = mlflow.register_model(address, "asd-two-stream").version
    MlflowClient().set_registered_model_alias("asd-two-stream", "champion", str(version))
    return run_id


@pytest.fixture(scope="module")
def make_video(project_folder: Path) -> Callable[[Path, int], Path]:
    """Write a walk; another number is another walk."""

    def make(path: Path, number: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        body = (30 + 12 * number, 40, 60)
        pictures = film(walk(96, 160, 30), wall(96, 160, seed=number), body=body)
        return write_video(path, pictures)

    return make
