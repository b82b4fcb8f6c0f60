"""Finished trials in MLflow that nobody trained: their predictions are drawn."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from mlflow.entities import Dataset, DatasetInput
from mlflow.tracking import MlflowClient

from asd_experiments.config import TrialConfig
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.metrics import evaluate
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.runs import log_metrics, log_parameters
from tests.evaluation.builders import CLASSES, clip

READERS = {"anna": (0.8, 0.1), "ben": (0.6, 0.25)}
"""How often each reader is right, and undecided."""


def predictions(
    effect: float, *, seed: int = 0, num_patients: int = 60, clips: int = 3, noise: float = 0.7
) -> pd.DataFrame:
    """Five folds; what is hard about a patient is the same for every seed, the noise is not."""
    patients, own = np.random.default_rng(99), np.random.default_rng(seed)
    hardness = patients.normal(0, 1, num_patients)
    rows = []
    for index in range(num_patients):
        label = CLASSES[index % 3 == 0]
        sign = 1 if label == CLASSES[0] else -1
        for fold in range(5):
            turn = index // 3 % 5
            split = {fold: "test", (fold + 1) % 5: "val"}.get(turn)
            walk = sign * effect + hardness[index] + own.normal(0, noise)
            for start in range(0, 16 * clips, 16) if split else ():
                probability = 1 / (1 + np.exp(-walk - own.normal(0, 0.4)))
                rows.append(
                    clip(
                        fold,
                        split,
                        f"p{index:02d}",
                        label,
                        (probability, 1 - probability),
                        start=start,
                    )
                )
    return pd.DataFrame(rows)


def videos_of(table: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """The labels of the videos, with a view, a disease and two readers."""
    rng = np.random.default_rng(seed)
    videos = table.drop_duplicates("video")[["patient_id", "video", "label"]].reset_index(drop=True)
    videos["view"] = rng.choice(["left", "right"], len(videos))
    for reader, (right, undecided) in READERS.items():
        is_asd = videos["label"] == CLASSES[0]
        said = np.where(rng.random(len(videos)) < right, is_asd, ~is_asd)
        answers = np.where(said, "yes", "no")
        videos[f"reader_{reader}"] = np.where(
            rng.random(len(videos)) < undecided, "undecided", answers
        )
    return videos


def log_trial(
    table: pd.DataFrame,
    parameters: Mapping[str, object],
    *,
    name: str = "trial",
    parent: str | None = None,
    digest: str = "d1g35t",
    experiment: str = "0",
    state: str = "FINISHED",
    videos: pd.DataFrame | None = None,
    classes: list[str] = CLASSES,
    positive_class: str = CLASSES[0],
) -> str:
    """A run as a training leaves it."""
    client = MlflowClient()
    tags = {"asd.level": "trial"} | ({"mlflow.parentRunId": parent} if parent else {})
    run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    config = vars(TrialConfig(**parameters)) | {"positive_class": positive_class}
    log_parameters(run_id, config)
    dataset = Dataset(name="clips", digest=digest, source_type="clip_store", source="{}")
    client.log_inputs(run_id, [DatasetInput(dataset, [])])
    figures = evaluate(Predictions(table, classes, positive_class))
    log_metrics(run_id, {**figures, "model/parameters": 1.2e6, "model/gmacs": 3.4})
    log_table(run_id, table, "predictions.parquet")
    log_table(run_id, videos_of(table) if videos is None else videos, "videos.csv")
    fold_tags = {"asd.level": "fold", "mlflow.parentRunId": run_id}
    fold = client.create_run(experiment, run_name="fold 1", tags=fold_tags).info.run_id
    log_metrics(fold, {"seconds": 61.5})
    client.set_terminated(fold)
    client.set_terminated(run_id, state)
    return run_id


def log_sweep(grid: Mapping[tuple[str, str, bool], float]) -> str:
    """A finished sweep over fusion, backbone and segmentation, with the effect of each trial."""
    client = MlflowClient()
    sweep = client.create_run("0", run_name="sweep grid", tags={"asd.level": "sweep"}).info.run_id
    rows = []
    for number, ((fusion, backbone, segmentation), effect) in enumerate(grid.items()):
        parameters = {"fusion": fusion, "backbone": backbone, "segmentation": segmentation}
        run_id = log_trial(
            predictions(effect, seed=number + 1),
            parameters,
            name=f"trial {number}: {backbone} {fusion} 16 frames",
            parent=sweep,
        )
        value = client.get_run(run_id).data.metrics["val/patient/auroc"]
        rows.append(
            {"trial": number, "state": "COMPLETE", "val/patient/auroc": value, "run_id": run_id}
        )
    table = pd.DataFrame(rows).sort_values("val/patient/auroc", ascending=False)
    log_table(sweep, table, "trials.csv")
    log_metrics(
        sweep,
        {
            "num_trials": len(rows) + 2.0,
            "best/val/patient/auroc": table["val/patient/auroc"].iloc[0],
        },
    )
    client.set_terminated(sweep)
    return sweep
