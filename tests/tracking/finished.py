"""Runs of finished trials without a training: predictions drawn at random."""

import json

import pandas as pd
from mlflow.tracking import MlflowClient

from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.runs import child_run, command_run, log_metrics, log_parameters
from tests.evaluation.builders import CLASSES, random_table


def labels_of(table: pd.DataFrame) -> pd.DataFrame:
    """Labels with metadata and a reader for the videos of a prediction table."""
    videos = table.drop_duplicates("video")[["video", "patient_id", "label"]]
    count = len(videos)
    return videos.assign(
        disease=videos["label"],
        view=[("front", "side", None)[number % 3] for number in range(count)],
        age=[40.0 + number for number in range(count)],
        reader_1=[("yes", "no", "undecided")[number % 3] for number in range(count)],
    ).reset_index(drop=True)


def manifest_of(table: pd.DataFrame) -> pd.DataFrame:
    """The fold manifest that belongs to a prediction table of `random_table`."""
    patients = table[table["split"] == "test"].drop_duplicates("patient_id")
    columns = ["patient_id", "group", "label"]
    parts = [
        patients[columns].assign(
            fold=fold,
            split=[
                {0: "test", 4: "val"}.get((fold - own) % 5, "train") for own in patients["fold"]
            ],
        )
        for fold in range(5)
    ]
    return pd.concat(parts, ignore_index=True)


def finished_trial(
    classes: list[str] = CLASSES,
    num_patients: int = 20,
    *,
    with_videos: bool = True,
    store: str = "gone.zarr",
    table: pd.DataFrame | None = None,
) -> str:
    """A finished run with the predictions of a trial and nothing that is computed from them."""
    table = random_table(classes, num_patients, 1.0) if table is None else table
    client = MlflowClient()
    with command_run("a trial", "") as run_id:
        client.set_tag(run_id, "asd.level", "trial")
        log_parameters(run_id, {"positive_class": classes[0], "store": store, "seed": 0})
        log_table(run_id, table, "predictions.parquet")
        log_table(run_id, manifest_of(table), "folds.csv")
        if with_videos:
            log_table(run_id, labels_of(table), "videos.csv")
        failure = {"video": "x.mp4", "reason": "no person found", "label": classes[0]}
        origin = {"digest": "d", "failures": [{**failure, "patient_id": "x"}]}
        client.log_text(run_id, json.dumps(origin), "store.json")
        for fold in range(5):
            with child_run(run_id, f"fold {fold + 1}", level="fold", key=str(fold + 1)) as fold_run:
                log_parameters(fold_run, {"fold": fold, "best_epoch": 2, "epochs": 3})
                for epoch in (1, 2, 3):
                    losses = {"train/clip/loss": 1 / epoch, "val/patient/loss": 1 / epoch + 0.1}
                    log_metrics(fold_run, losses, step=epoch)
    return run_id
