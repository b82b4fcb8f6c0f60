"""All that a trial's run shows of its predictions: the command `evaluate`, and a training's end."""

from collections.abc import Mapping, Sequence

import pandas as pd
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from asd_experiments.config import EvaluateConfig
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.failures import misclassified_patients, worst_clips
from asd_experiments.evaluation.figures.confusion import confusion_by_fold_figure
from asd_experiments.evaluation.figures.flow import flow_figure
from asd_experiments.evaluation.figures.learning import learning_figure
from asd_experiments.evaluation.figures.style import MOST_PANELS
from asd_experiments.evaluation.figures.subgroups import subgroup_figure
from asd_experiments.evaluation.metrics import evaluate
from asd_experiments.evaluation.participant_flow import participant_flow
from asd_experiments.evaluation.predictions import UNITS, Unit
from asd_experiments.evaluation.subgroups import subgroup_columns, subgroup_table
from asd_experiments.evaluation.wording import logged_text
from asd_experiments.interruption import Interrupted
from asd_experiments.provenance import DATA_DIGEST
from asd_experiments.tracking.artifacts import Evaluated, evaluated
from asd_experiments.tracking.cases import add_cases, confusion_table
from asd_experiments.tracking.checklist import log_checklist
from asd_experiments.tracking.finished_trial import FOLDS, FinishedTrial, read_table
from asd_experiments.tracking.learning import learning_history
from asd_experiments.tracking.links import artifact_link, run_link
from asd_experiments.tracking.runs import (
    command_run,
    log_metrics,
    log_parameters,
    use_tracking_store,
    where_to_see,
)
from asd_experiments.tracking.videos import add_videos, excluded_videos

EVALUATES = "asd.evaluates"
"""Tag of a run of `evaluate`: run of the trial that it judged."""


def run_evaluate(config: EvaluateConfig) -> str:
    """Judge a finished trial again; what comes out is logged to the trial's run.

    Returns:
        Id of the command's own run, which only says which trial it judged.

    Raises:
        InputError: If the run is unknown, no trial, not finished, or without predictions.
    """
    use_tracking_store()
    trial = FinishedTrial.read(config.run)
    try:
        with command_run(None, f"evaluate {trial.name}") as run_id:
            _log_link(run_id, config, trial)
            why_no_videos = add_videos(trial, config.pseudonym_key)
            metrics = log_evaluation(trial.run_id)
    except Interrupted as error:
        raise SystemExit(f"evaluate: {error}; run it again to log everything") from error
    print(f"\n{summary(metrics)}\n")
    if why_no_videos:
        print(f"No subgroups: {why_no_videos}")
    print("\n".join(where_to_see(trial.run_id)))
    return run_id


def log_evaluation(
    run_id: str,
    *,
    judged_by: Sequence[str] = (),
    model: Mapping[str, float] | None = None,
    metrics: dict[str, float] | None = None,
) -> dict[str, float]:
    """Compute and log all that a trial's run shows of its predictions, from nothing but the run.

    What was logged before under the same names is replaced.

    Args:
        run_id: The trial's run, which holds the predictions, the folds and, but for older runs,
            the labels of the videos.
        judged_by: Metrics to log first of all, as `Objective/...` too: MLflow's page that compares
            runs draws the metric that was logged first.
        model: Figures of the model, which a training logs with the metrics.
        metrics: What `evaluate` gave for the run's predictions. None: it is computed here.

    Returns:
        The metrics.
    """
    client = MlflowClient()
    run = client.get_run(run_id)
    trial = FinishedTrial.of(run)
    metrics = evaluate(trial.predictions) if metrics is None else metrics
    judged = {f"Objective/{name}": metrics[name] for name in judged_by if name in metrics}
    logged = run.data.metrics
    values = {**judged, **metrics, **(model or {})}
    log_metrics(run_id, {name: v for name, v in values.items() if logged.get(name) != v})
    client.set_tag(run_id, MLFLOW_RUN_NOTE, f"{_links(run_id)}\n\n{summary(metrics)}")
    with evaluated(run_id) as results:
        for unit in UNITS:
            _add_unit(results, trial.predictions, unit)
        _add_failures(results, trial.predictions)
        _add_subgroups(results, trial)
        _add_participants(results, trial)
        _add_learning(results, trial)
    columns = [] if trial.videos is None else list(trial.videos.columns)
    log_checklist(run_id, has_readers=any(name.startswith("reader_") for name in columns))
    return metrics


def summary(metrics: Mapping[str, float]) -> str:
    """The pooled test figures as a Markdown table, one row per unit."""
    columns = ("balanced_accuracy", "sensitivity", "specificity", "f1")
    lines = [
        f"| test, pooled | AUROC [95 % CI] | {' | '.join(c.replace('_', ' ') for c in columns)} |",
        f"|---|---|{'---|' * len(columns)}",
    ]
    for unit in ("patient", "video", "clip"):
        auroc = logged_text(metrics, f"test/{unit}/auroc") or "undefined"
        values = [_figure(metrics, f"test/{unit}/{column}") for column in columns]
        lines.append(f"| {unit} | {auroc} | {' | '.join(values)} |")
    return "\n".join(lines)


def _links(run_id: str) -> str:
    """Links to what a reader looks at first; MLflow's own charts hide images behind parameters."""
    shown = {
        "figures/confusion_matrix_patient.png": "confusion matrix",
        "figures/roc_patient.png": "ROC",
        "figures/precision_recall_patient.png": "precision and recall",
        "figures/calibration_patient.png": "calibration",
        "checklist.md": "checklist",
    }
    links = (artifact_link(run_id, name, text) for name, text in shown.items())
    return f"Patients: {' · '.join(links)}"


def _log_link(run_id: str, config: EvaluateConfig, trial: FinishedTrial) -> None:
    """Say in the command's own run which trial it judges, and lead there."""
    client = MlflowClient()
    client.set_tag(run_id, "asd.level", "evaluation")
    client.set_tag(run_id, EVALUATES, trial.run_id)
    if trial.data_digest:
        client.set_tag(run_id, DATA_DIGEST, trial.data_digest)
    log_parameters(run_id, {"run": config.run})
    note = f"Everything that was computed is in the run of the trial: {run_link(trial.run)}."
    client.set_tag(run_id, MLFLOW_RUN_NOTE, note)


def _add_unit(results: Evaluated, predictions: Predictions, unit: Unit) -> None:
    """Curves and confusion matrices of the test cases."""
    cases = predictions.cases("test", unit)
    add_cases(results, cases, unit, f"test {unit}s, all folds", are_treated=unit == "patient")
    folds = list(cases.by_fold())
    by_fold = {fold: confusion_table(own) for fold, own in folds}
    name = f"confusion_matrix_by_fold_{unit}"
    results.add_table(name, pd.concat(by_fold, names=["fold"]).reset_index(level="fold"))
    if len(folds) < MOST_PANELS:  # with a panel for all folds together
        title = f"Confusion matrices: test {unit}s"
        results.add_figure(name, confusion_by_fold_figure(cases, title))


def _add_failures(results: Evaluated, predictions: Predictions) -> None:
    results.add_table("misclassified_patients", misclassified_patients(predictions))
    results.add_table("worst_clips", worst_clips(predictions))


def _add_subgroups(results: Evaluated, trial: FinishedTrial) -> None:
    if trial.videos is None or not subgroup_columns(trial.videos):
        return
    table = subgroup_table(trial.predictions, trial.videos)
    results.add_table("subgroups", table)
    title = "Subgroups: test patients, all folds"
    results.add_figure("subgroups", subgroup_figure(table, title))


def _add_participants(results: Evaluated, trial: FinishedTrial) -> None:
    manifest = read_table(trial.run, FOLDS)
    if manifest is None:
        return
    table = trial.predictions.table
    flow = participant_flow(table, manifest, excluded_videos(trial.run_id))
    results.add_table("participant_flow", flow)
    results.add_figure("participant_flow", flow_figure(flow, "Participants"))


def _add_learning(results: Evaluated, trial: FinishedTrial) -> None:
    history = learning_history(trial.run)
    if history.empty:
        return
    results.add_table("learning_curves", history)
    if history["fold"].nunique() <= MOST_PANELS:
        results.add_figure("learning_curves", learning_figure(history, "Learning curves"))


def _figure(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else "undefined"
