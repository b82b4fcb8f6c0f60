"""Judges a prediction table by what the trials of this project are judged by, and logs it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models.evaluation import EvaluationArtifact, EvaluationResult
from mlflow.models.evaluation.artifacts import CsvEvaluationArtifact, ImageEvaluationArtifact
from mlflow.tracking import MlflowClient

from asd_experiments.errors import InputError
from asd_experiments.evaluation.metrics import judged
from asd_experiments.plugins.model_evaluator.settings import EvaluatorConfig, read_config
from asd_experiments.plugins.model_evaluator.table import UNITS, PredictionTable, read_table
from asd_experiments.tracking.artifacts import evaluated
from asd_experiments.tracking.cases import add_cases
from asd_experiments.tracking.runs import log_metrics

DECISION = "asd.{}decision"
"""Tag of a run: by which rule its table was decided; `{}` is the prefix of its metrics."""

_ARTIFACTS: dict[str, Any] = {".csv": CsvEvaluationArtifact, ".png": ImageEvaluationArtifact}


def judge_dataset(
    dataset: Any,
    evaluator_config: Mapping[str, Any],
    run_id: str,
    *,
    model_type: str | None,
    has_model: bool,
) -> EvaluationResult:
    """Read MLflow's data set and judge it.

    Args:
        dataset: MLflow's `EvaluationDataset`.
        evaluator_config: See `EvaluatorConfig`.
        run_id: Run that the results are logged to.
        model_type: Must be `classifier`.
        has_model: Whether a model is to make the predictions; it must not.

    Raises:
        MlflowException: If configuration or table are wrong; nothing is logged then.
    """
    try:
        if model_type != "classifier":
            raise InputError(
                f"the evaluator asd judges model_type='classifier', got {model_type!r}"
            )
        if has_model:
            raise InputError(
                "the evaluator asd judges predictions: let the model predict first, and give the "
                "table by data= and predictions=, without model="
            )
        config = read_config(evaluator_config)
        features = dataset.features_data
        if not isinstance(features, pd.DataFrame):
            raise InputError(
                f"data must be a pandas DataFrame with a column of groups, got {type(features)}"
            )
        table = read_table(features, dataset.labels_data, dataset.predictions_data, config)
    except InputError as error:
        raise MlflowException.invalid_parameter_value(str(error)) from error
    return judge_table(table, config, run_id)


def judge_table(table: PredictionTable, config: EvaluatorConfig, run_id: str) -> EvaluationResult:
    """Compute metrics with their intervals, tables and figures, and log all of them to a run.

    Metrics are `<prefix><unit>/<metric>` with the unit `row` or `group`: see `judged`.
    """
    prefix = config.metric_prefix
    of_unit = {unit: table.cases(unit) for unit in UNITS}
    metrics = {
        f"{prefix}{unit}/{name}": value
        for unit, cases in of_unit.items()
        for name, value in judged(cases).items()
    }
    if table.threshold is not None:
        metrics[f"{prefix}threshold"] = table.threshold
    log_metrics(run_id, metrics)
    MlflowClient().set_tag(run_id, DECISION.format(prefix), decision_rule(table, config))
    root = MlflowClient().get_run(run_id).info.artifact_uri
    with evaluated(run_id) as results:
        for unit, cases in of_unit.items():
            count = len(cases)
            where = f"{count} rows" if unit == "row" else f"{count} groups ({config.group})"
            add_cases(results, cases, f"{prefix}{unit}", where, are_treated=unit == "group")
        artifacts = dict(_artifacts(results.folder, root))
    return EvaluationResult(metrics, artifacts, run_id)


def decision_rule(table: PredictionTable, config: EvaluatorConfig) -> str:
    """By which rule the cases were decided, in words."""
    if table.threshold is None:
        return "the most probable class"
    source = "the default" if config.threshold is None else "from evaluator_config"
    return (
        f"{table.positive_class} at a probability of {table.threshold:g} or above ({source}), "
        f"else {next(name for name in table.classes if name != table.positive_class)}"
    )


def _artifacts(folder: Path, root: str) -> "dict[str, EvaluationArtifact]":
    """Tables and figures by the names of their files, with what is in them."""
    artifacts = {}
    for file in sorted(folder.rglob("*.*")):
        if file.parent.name in ("figures", "tables"):
            artifact = _ARTIFACTS[file.suffix](f"{root}/{file.relative_to(folder).as_posix()}")
            artifact._load(str(file))
            artifacts[file.name] = artifact
    return artifacts
