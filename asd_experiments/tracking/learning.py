"""The losses of a trial's folds over their epochs, as the runs of the folds hold them."""

import pandas as pd
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from asd_experiments.evaluation.metrics import SELECTION_METRIC
from asd_experiments.tracking.runs import runs_below

_LOSSES = {"train_loss": "train/clip/loss", "val_loss": SELECTION_METRIC}
_COLUMNS = ("fold", "epoch", *_LOSSES, "is_best")


def learning_history(trial: Run) -> pd.DataFrame:
    """Losses of every fold and epoch.

    Args:
        trial: Run of a trial.

    Returns:
        Columns fold (from 0), epoch (from 1), train_loss, val_loss (the one that chooses the
        epoch) and is_best, sorted; no row if the runs of the folds are gone.
    """
    folds = [run for run in runs_below(trial) if "best_epoch" in run.data.params]
    parts = [_of_fold(run) for run in folds]
    table = pd.concat(parts) if parts else pd.DataFrame(columns=list(_COLUMNS))
    return table.sort_values(["fold", "epoch"], ignore_index=True)


def _of_fold(run: Run) -> pd.DataFrame:
    losses = {
        name: {
            point.step: point.value
            for point in MlflowClient().get_metric_history(run.info.run_id, metric)
        }
        for name, metric in _LOSSES.items()
    }
    table = pd.DataFrame(losses).rename_axis("epoch").reset_index()
    best = int(run.data.params["best_epoch"])
    fold = int(run.data.params["fold"])
    return table.assign(fold=fold, is_best=table["epoch"] == best)[list(_COLUMNS)]
