from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest


@pytest.fixture(scope="module")
def tracking(tmp_path_factory) -> Iterator[Path]:
    """An empty tracking store, the same for all tests of a module."""
    with tracking_store(tmp_path_factory.mktemp("tracking")) as folder:
        yield folder


@contextmanager
def tracking_store(folder: Path) -> Iterator[Path]:
    """An empty tracking store in an empty folder."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        yield folder
    mlflow.set_tracking_uri(before)
