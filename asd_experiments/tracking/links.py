"""Places in MLflow's pages, as links that work in the notes of runs.

MLflow folds all but the first 100 pixels of a note away, and of those only the first line or two
can be clicked: links belong there.
"""

import json
from collections.abc import Sequence
from urllib.parse import quote

from mlflow.entities import Run
from mlflow.tracking import MlflowClient


def run_link(run: Run, text: str | None = None) -> str:
    """Link to a run.

    Args:
        run: The run.
        text: What is clicked; None: the run's name.
    """
    return f"[{text or run.info.run_name}](#{_place(run)})"


def artifact_link(run_id: str, name: str, text: str) -> str:
    """Link to an artifact of a run, as MLflow shows it."""
    return f"[{text}](#{_place(MlflowClient().get_run(run_id))}/artifacts/{name})"


def version_link(name: str, version: str, text: str) -> str:
    """Link to a version of a registered model."""
    return f"[{text}](#/models/{name}/versions/{version})"


def compare_link(runs: Sequence[Run], text: str) -> str:
    """Link to the page that compares runs, with parallel coordinates."""
    ids = json.dumps([run.info.run_id for run in runs], separators=(",", ":"))
    experiments = json.dumps(sorted({run.info.experiment_id for run in runs}))
    place = f"#/compare-runs?runs={quote(ids)}&experiments={quote(experiments)}"
    return f"[{text}]({place})"


def _place(run: Run) -> str:
    return f"/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
