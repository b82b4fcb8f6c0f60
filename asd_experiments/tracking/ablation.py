"""The run of an ablation in MLflow."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from asd_experiments.provenance import DATA_DIGEST
from asd_experiments.tracking.artifacts import evaluated, log_table
from asd_experiments.tracking.runs import log_metrics, log_parameters

TRIALS = "asd.trials"
"""Tag of an ablation's run: the runs of the trials that it compares."""

_MAX_TRIALS = 150  # ids of as many trials fit into a tag; ablation.csv has all
_MAX_NOTE_LENGTH = 8000


def log_ablation(
    run_id: str,
    *,
    parameters: Mapping[str, object],
    trials: Sequence[str],
    data_digest: str,
    frames: Mapping[str, pd.DataFrame],
    texts: Mapping[str, str],
    figures: Mapping[str, Figure],
    metrics: Mapping[str, float],
    note: str,
) -> None:
    """Log all that an ablation made.

    Args:
        run_id: Its run.
        parameters: What it was asked for.
        trials: Runs that it compares.
        data_digest: Digest of the clip store that all were trained on; empty if unknown.
        frames: Tables by the names of their files.
        texts: Other files by their names.
        figures: By name.
        metrics: Its figures.
        note: What a reader of the run sees first, in Markdown.
    """
    client = MlflowClient()
    client.set_tag(run_id, "asd.level", "ablation")
    client.set_tag(run_id, TRIALS, ",".join(trials[:_MAX_TRIALS]))
    if data_digest:
        client.set_tag(run_id, DATA_DIGEST, data_digest)
    log_parameters(run_id, parameters)
    log_metrics(run_id, metrics)
    for name, text in texts.items():
        client.log_text(run_id, text, name)
    for name, frame in frames.items():
        log_table(run_id, frame, name)
    with evaluated(run_id) as files:
        for name, figure in figures.items():
            files.add_figure(name, figure, scalable=True)
    client.set_tag(run_id, MLFLOW_RUN_NOTE, _shortened(note))


def _shortened(note: str) -> str:
    """As much of a note as MLflow takes, to the end of a line."""
    if len(note) <= _MAX_NOTE_LENGTH:
        return note
    kept = note[:_MAX_NOTE_LENGTH].rsplit("\n", 1)[0]
    return f"{kept}\n\nThe whole table: artifacts `ablation.html`, `ablation.csv`."
