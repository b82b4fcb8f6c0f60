"""Tables and pictures of a run."""

import tempfile
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from mlflow.tracking import MlflowClient

from asd_experiments.evaluation.calibration import calibration_points
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.confusion import confusion_counts
from asd_experiments.evaluation.curves import precision_recall_points, roc_points
from asd_experiments.evaluation.figures import (
    calibration_figure,
    confusion_figure,
    figure_to_array,
    precision_recall_figure,
    roc_figure,
)
from asd_experiments.evaluation.predictions import UNITS


def log_table(run_id: str, table: pd.DataFrame, name: str) -> None:
    """Log a table; the ending of its name, .parquet or .csv, says how it is written."""
    with tempfile.TemporaryDirectory(prefix="table_") as folder:
        path = Path(folder) / Path(name).name
        if path.suffix == ".parquet":
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False)
        parent = str(Path(name).parent)
        MlflowClient().log_artifact(run_id, str(path), None if parent == "." else parent)


def log_evaluation(run_id: str, predictions: Predictions) -> None:
    """Log confusion matrices and curves of the test predictions, for every unit.

    Args:
        run_id: The trial's run.
        predictions: Predictions of all its folds.
    """
    for unit in UNITS:
        cases, classes = predictions.cases("test", unit), predictions.classes
        counts = confusion_counts(cases)
        where = f"test {unit}s, all folds"
        figures = {
            "confusion_matrix": confusion_figure(counts, classes, f"Confusion matrix: {where}"),
            "roc": roc_figure(cases, f"ROC: {where}"),
            "precision_recall": precision_recall_figure(cases, f"Precision and recall: {where}"),
            "calibration": calibration_figure(cases, f"Calibration: {where}"),
        }
        for name, figure in figures.items():
            log_picture(run_id, f"{name}_{unit}", figure)
        table = pd.DataFrame(counts, index=pd.Index(classes, name="true"), columns=classes)
        log_table(run_id, table.reset_index(), f"tables/confusion_matrix_{unit}.csv")
        for name, points in {
            "roc": roc_points,
            "precision_recall": precision_recall_points,
            "calibration": calibration_points,
        }.items():
            log_table(run_id, points(cases), f"tables/{name}_{unit}.csv")


def log_picture(run_id: str, name: str, figure: Figure) -> None:
    """Log a figure twice: as an image chart of the run page, and as a file to download."""
    client, picture = MlflowClient(), figure_to_array(figure)
    client.log_image(run_id, picture, key=name, step=0)
    client.log_image(run_id, picture, artifact_file=f"figures/{name}.png")
