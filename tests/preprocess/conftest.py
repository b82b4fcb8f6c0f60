import urllib.error
from pathlib import Path

import pytest
import torch

from asd_experiments.config import SimulateConfig
from asd_experiments.simulation.cohort import simulate


@pytest.fixture(scope="session")
def walkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of three simulated walks with their truth."""
    out = tmp_path_factory.mktemp("walkers") / "cohort"
    simulate(
        SimulateConfig(
            out=str(out), patients=3, videos_per_patient=1, seconds=2.0, seed=3, truth=True
        )
    )
    return out


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be downloaded, and nothing was before."""

    def fail(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
