"""Trials whose predictions are drawn, with a model that can be registered."""

import json
from collections.abc import Mapping

import pandas as pd
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunTag,
)
from mlflow.tracking import MlflowClient

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.participant_flow import participant_flow
from asd_experiments.evaluation.subgroups import subgroup_table
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.finished_trial import FinishedTrial
from asd_experiments.tracking.runs import MODEL, log_metrics, log_parameters
from tests.evaluation.builders import CLASSES
from tests.reporting.builders import videos_of
from tests.tracking.finished import manifest_of

PARAMETERS = {
    **{"backbone": "slow_50", "fusion": "late_average", "clip_length": 16, "size": 112},
    **{"folds": 5, "inner_folds": 4, "group_by": "patient_id", "positive_class": CLASSES[0]},
}


def in_memory(
    table: pd.DataFrame,
    run_id: str = "a",
    *,
    classes: list[str] = CLASSES,
    positive_class: str = CLASSES[0],
    digest: str = "d1g35t",
    parameters: Mapping[str, str] | None = None,
    videos: pd.DataFrame | None = None,
    tags: Mapping[str, str] | None = None,
) -> FinishedTrial:
    """A finished trial that no tracking server knows."""
    info = RunInfo(
        run_id=run_id,
        experiment_id="0",
        user_id="",
        status="FINISHED",
        start_time=0,
        end_time=1,
        lifecycle_stage="active",
        run_name="a trial",
    )
    data = RunData(
        params=[Param(k, v) for k, v in (parameters or {}).items()],
        tags=[RunTag(k, v) for k, v in (tags or {}).items()],
    )
    dataset = Dataset(name="clips", digest=digest, source_type="clip_store", source="{}")
    run = Run(info, data, RunInputs([DatasetInput(dataset, [])]))
    trial = FinishedTrial(run, Predictions(table, classes, positive_class))
    vars(trial)["videos"] = videos
    return trial


def log_trial(
    table: pd.DataFrame,
    *,
    name: str = "a trial",
    parent: str | None = None,
    metrics: Mapping[str, float] | None = None,
    with_tables: bool = False,
    with_model: bool = True,
) -> str:
    """A run as a training leaves it, with as many of its tables as are asked for."""
    client = MlflowClient()
    tags = {"asd.level": "trial"} | ({"mlflow.parentRunId": parent} if parent else {})
    run_id = str(client.create_run("0", run_name=name, tags=tags).info.run_id)
    log_parameters(run_id, PARAMETERS)
    log_metrics(run_id, metrics or {})
    dataset = Dataset(name="clips", digest="d1g35t", source_type="clip_store", source="{}")
    client.log_inputs(run_id, [DatasetInput(dataset, [])])
    log_table(run_id, table, "predictions.parquet")
    if with_tables:
        videos, manifest = videos_of(table), manifest_of(table)
        failures = [{"video": "x.mp4", "reason": "no person found", "label": CLASSES[0]}]
        log_table(run_id, videos, "videos.csv")
        subgroups = subgroup_table(Predictions(table, CLASSES, CLASSES[0]), videos)
        log_table(run_id, subgroups, "tables/subgroups.csv")
        flow = participant_flow(table, manifest, failures)
        log_table(run_id, flow, "tables/participant_flow.csv")
        recipe = {"people": "motion", "flow": "dis", "segment": None}
        origin = {"digest": "d1g35t", "recipe": recipe, "failures": failures}
        client.log_text(run_id, json.dumps(origin), "store.json")
    if with_model:
        model = client.create_logged_model("0", name="model", source_run_id=run_id)
        client.finalize_logged_model(model.model_id, "READY")
        client.set_tag(run_id, MODEL, f"models:/{model.model_id}")
    client.set_terminated(run_id)
    return run_id
