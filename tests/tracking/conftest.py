from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from asd_experiments.config import TrainConfig

SMALL = {
    "clip_length": 8,
    "size": 32,
    "width": 0.125,
    "folds": 2,
    "inner_folds": 2,
    "epochs": 1,
    "batch_size": 4,
    "device": "cpu",
    "loader_workers": 0,
    "anonymise": False,
}


def small_training(store: str, **changes: object) -> TrainConfig:
    return TrainConfig(store=store, **{**SMALL, **changes})


@pytest.fixture(scope="module")
def project_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty project folder with a tracking store of its own."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
            patch.delenv(name, raising=False)
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(None)
        yield folder
        mlflow.set_tracking_uri(before)
