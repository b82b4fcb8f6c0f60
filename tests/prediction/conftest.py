"""A logged model whose networks are as they were made, and made-up videos for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from asd_experiments.tracking.runs import use_tracking_store
from tests.preprocess.films import film, walk, wall, write_video
from tests.tracking.conftest import project_folder
from tests.tracking.untrained import register_untrained

__all__ = ["project_folder"]


@pytest.fixture(scope="module")
def trial(project_folder: Path) -> str:
    """Run of the trial whose model is registered as `asd-two-stream` and the champion."""
    use_tracking_store()
    return register_untrained(project_folder / "networks", "champion")


@pytest.fixture(scope="module")
def make_video(project_folder: Path) -> Callable[[Path, int], Path]:
    """Write a walk; another number is another walk."""

    def make(path: Path, number: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        body = (30 + 12 * number, 40, 60)
        pictures = film(walk(96, 160, 30), wall(96, 160, seed=number), body=body)
        return write_video(path, pictures)

    return make
