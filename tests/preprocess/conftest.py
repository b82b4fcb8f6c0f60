from pathlib import Path

import pytest

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
