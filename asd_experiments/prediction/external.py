"""External validation: how right a model is about patients that it was not trained on."""

from collections.abc import Mapping

import pandas as pd
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from asd_experiments.evaluation.failures import misclassified_patients, worst_clips
from asd_experiments.evaluation.figures.flow import flow_figure
from asd_experiments.evaluation.figures.subgroups import subgroup_figure
from asd_experiments.evaluation.metrics import judged
from asd_experiments.evaluation.network_predictions import NetworkPredictions
from asd_experiments.evaluation.participant_flow import participant_flow
from asd_experiments.evaluation.predictions import UNITS
from asd_experiments.evaluation.subgroups import subgroup_columns, subgroup_table
from asd_experiments.evaluation.wording import logged_text, title_of
from asd_experiments.prediction.known import KnownTrial
from asd_experiments.prediction.logged_model import LoggedModel
from asd_experiments.prediction.record import link_back, told_model
from asd_experiments.tracking.answers import RequestedVideo
from asd_experiments.tracking.artifacts import Evaluated, evaluated, log_table
from asd_experiments.tracking.cases import add_cases
from asd_experiments.tracking.checklist import log_external_checklist
from asd_experiments.tracking.finished_trial import PREDICTIONS
from asd_experiments.tracking.labels import labels_by_row
from asd_experiments.tracking.links import artifact_link
from asd_experiments.tracking.model_signature import PredictOptions
from asd_experiments.tracking.model_spec import ModelSpec
from asd_experiments.tracking.runs import log_metrics

EXTERNAL = "external"
"""Begins the names of the metrics: they are no `test/...`, which are cross-validated."""

_COMPARED = ("auroc", "sensitivity", "specificity")
_NO_FOLDS = pd.DataFrame(columns=["fold", "split", "patient_id", "label"])


def log_external(
    run_id: str,
    model: LoggedModel,
    options: PredictOptions,
    labels: pd.DataFrame,
    videos: list[RequestedVideo],
    trial: KnownTrial,
) -> str:
    """Judge a model by the labels of videos that it was not trained on, and log everything.

    Args:
        run_id: The run that takes it.
        model: The model.
        options: How it answered.
        labels: The labels file.
        videos: What came of its videos, in order; at least one was classified.
        trial: The model's trial.

    Returns:
        The figures beside the cross-validated ones, as a Markdown table.
    """
    spec = model.networks.spec
    named = labels_by_row(labels)
    predictions = external_predictions(spec, spec.networks(options.fold), named, videos)
    metrics = {
        f"{EXTERNAL}/{unit}/{name}": value
        for unit in UNITS
        for name, value in judged(predictions.cases("test", unit)).items()
    }
    log_metrics(run_id, metrics)
    log_table(run_id, predictions.table, PREDICTIONS)
    with evaluated(run_id) as results:
        for unit in UNITS:
            where, treated = f"external {unit}s", unit == "patient"
            cases = predictions.cases("test", unit)
            add_cases(results, cases, unit, where, are_treated=treated)
        _add_tables(results, predictions, named, videos)
    table = compared(metrics, spec.figures)
    client = MlflowClient()
    client.set_tag(
        run_id, MLFLOW_RUN_NOTE, _note(run_id, model, options, trial, predictions, named, table)
    )
    link_back(run_id, model, trial.run)
    log_external_checklist(run_id)
    return table


def external_predictions(
    spec: ModelSpec, networks: list[int], named: pd.DataFrame, videos: list[RequestedVideo]
) -> NetworkPredictions:
    """What every network says of every clip, with the truth.

    Args:
        spec: Specification of the model.
        networks: Numbers of the networks that answer together.
        named: From `labels_by_row`.
        videos: What came of the videos, in order.
    """
    parts = [
        video.result.clips.assign(video=name, patient_id=patient, group=patient, label=label)
        for video, name, patient, label in zip(
            videos, named["video"], named["patient_id"], named["label"], strict=True
        )
        if video.result is not None
    ]
    table = pd.concat(parts, ignore_index=True).assign(split="test")
    return NetworkPredictions(
        table,
        spec.classes,
        spec.positive_class,
        temperatures={number: spec.temperature(number) for number in networks},
        threshold=spec.threshold(networks),
    )


def compared(metrics: Mapping[str, float], cross_validated: Mapping[str, float]) -> str:
    """The figures of the patients beside those of the cross-validation, as a Markdown table."""
    lines = [
        "| patients | external [95 % CI] | cross-validated, pooled [95 % CI] |",
        "|---|---|---|",
    ]
    for name in _COMPARED:
        own = logged_text(metrics, f"{EXTERNAL}/patient/{name}") or "not known"
        before = logged_text(cross_validated, f"test/patient/{name}") or "not known"
        lines.append(f"| {title_of(name)} | {own} | {before} |")
    return "\n".join(lines)


def _note(
    run_id: str,
    model: LoggedModel,
    options: PredictOptions,
    trial: KnownTrial,
    predictions: NetworkPredictions,
    named: pd.DataFrame,
    table: str,
) -> str:
    """What a reader of the run's page must know, in Markdown."""
    shown = {
        "figures/confusion_matrix_patient.png": "confusion matrix",
        "figures/roc_patient.png": "ROC",
        "figures/calibration_patient.png": "calibration",
        "checklist.md": "checklist",
    }
    links = " · ".join(artifact_link(run_id, name, text) for name, text in shown.items())
    patients = predictions.cases("test", "patient").rows["label"].value_counts()
    classes = ", ".join(f"{patients.get(name, 0)} {name}" for name in predictions.classes)
    unchecked = (
        f" That they are none of its own was checked by their videos alone: {trial.unchecked}."
        if trial.unchecked
        else ""
    )
    numbers = model.networks.spec.networks(options.fold)
    networks = "one network" if len(numbers) == 1 else f"the mean of {len(numbers)} networks"
    return (
        f"Patients: {links}\n\n"
        f"External validation of {told_model(model, trial.run)}: {networks}, on "
        f"{patients.sum()} of {named['patient_id'].nunique()} patients ({classes}) that it was not "
        f"trained on. Decisions are by the model's own threshold, probabilities as it calibrates "
        f"them; nothing was fitted to these patients.{unchecked}\n\n{table}"
    )


def _add_tables(
    results: Evaluated,
    predictions: NetworkPredictions,
    named: pd.DataFrame,
    videos: list[RequestedVideo],
) -> None:
    results.add_table("misclassified_patients", misclassified_patients(predictions))
    results.add_table("worst_clips", worst_clips(predictions))
    results.add_table("answers_patients", predictions.cases("test", "patient").rows)
    results.add_table("answers_videos", predictions.cases("test", "video").rows)
    if subgroup_columns(named):
        subgroups = subgroup_table(predictions, named)
        results.add_table("subgroups", subgroups)
        title = "Subgroups: external patients"
        results.add_figure("subgroups", subgroup_figure(subgroups, title))
    failures = [
        {"label": str(label), "patient_id": str(patient), "reason": video.problem}
        for video, label, patient in zip(videos, named["label"], named["patient_id"], strict=True)
        if video.result is None
    ]
    table = predictions.table
    clips = table[table["fold"] == table["fold"].iloc[0]]
    flow = participant_flow(clips, _NO_FOLDS, failures)
    results.add_table("participant_flow", flow)
    results.add_figure("participant_flow", flow_figure(flow, "Participants", kept="Classified"))
