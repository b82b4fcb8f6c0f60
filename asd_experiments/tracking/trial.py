"""The command `train`: one cross-validated trial with everything about it in MLflow."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import yaml
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from asd_experiments.config import TrainConfig, TrialConfig, close_defaults
from asd_experiments.data.store import ClipStore
from asd_experiments.demo import DEMO_DEFAULTS, demo_store
from asd_experiments.evaluation.metrics import evaluate
from asd_experiments.evaluation.threshold import choose_thresholds
from asd_experiments.progress import progress_bar
from asd_experiments.tracking.artifacts import log_evaluation, log_table
from asd_experiments.tracking.dataset import dataset_input
from asd_experiments.tracking.model import ModelCard, TrialModelWriter
from asd_experiments.tracking.runs import (
    Interrupted,
    command_run,
    fold_run,
    log_metrics,
    log_parameters,
    tracking_address,
    use_tracking_store,
    where_to_see,
)
from asd_experiments.training.cross_validation import CrossValidation, check_trial
from asd_experiments.training.fit import FoldResult, precision, training_device


def train(config: TrainConfig) -> str:
    """Cross-validate one model and track it; without a store, on a simulated cohort.

    Returns:
        Id of the trial's run.

    Raises:
        InputError: If store, configuration and machine do not fit together.
    """
    use_tracking_store()
    default_name = f"{config.backbone} {config.fusion} {config.clip_length} frames"
    trial = close_defaults(config, **({} if config.store else DEMO_DEFAULTS))
    check_trial(trial)
    if trial.store is None:
        trial = replace(trial, store=demo_store(trial.seed))
    store = ClipStore(str(trial.store))
    validation = CrossValidation(trial, store)
    try:
        with command_run(config.run_name, default_name) as run_id:
            metrics, model_uri = run_trial(trial, store, validation, run_id)
    except Interrupted as error:
        raise SystemExit(f"train: {error}; its run in MLflow is closed as KILLED") from error
    _print_summary(run_id, metrics, model_uri)
    return run_id


def run_trial(
    config: TrialConfig, store: ClipStore, validation: CrossValidation, run_id: str
) -> tuple[dict[str, float], str]:
    """Train and evaluate all folds and log everything to a run, as soon as it is there.

    Args:
        config: Configuration of the trial.
        store: Its clip store.
        validation: Its folds, ready to be trained.
        run_id: Its run, open.

    Returns:
        The metrics, and the URI of the logged model.
    """
    _log_start(run_id, config, store, validation)
    with tempfile.TemporaryDirectory(prefix="model_") as folder:
        model = TrialModelWriter(Path(folder))
        tables = []
        for fold in range(validation.num_folds):
            result = _run_fold(run_id, config, validation, fold)
            model.add_fold(fold, result.network)
            tables.append(result.predictions)
        predictions = pd.concat(tables, ignore_index=True)
        classes, positive = validation.classes, config.positive_class
        log_table(run_id, predictions, "predictions.parquet")
        chosen = choose_thresholds(predictions, classes, positive)
        thresholds = {fold: threshold.value for fold, threshold in chosen.items()}
        metrics = evaluate(predictions, classes, positive, thresholds)
        log_metrics(run_id, metrics)
        MlflowClient().set_tag(run_id, MLFLOW_RUN_NOTE, _summary(metrics))
        log_evaluation(run_id, predictions, classes, positive, thresholds)
        card = _model_card(config, store, validation, thresholds)
        return metrics, model.log(run_id, card, store.weights())


def _run_fold(
    run_id: str, config: TrialConfig, validation: CrossValidation, fold: int
) -> FoldResult:
    """Train one fold in a run of its own, with its curves, figures and predictions."""
    name = f"fold {fold + 1} of {validation.num_folds}"
    with (
        fold_run(run_id, name) as fold_run_id,
        progress_bar(total=config.epochs, title=name, unit="epoch") as progress,
    ):

        def report(epoch: int, figures: dict[str, float]) -> None:
            log_metrics(fold_run_id, figures, step=epoch)
            progress.set_postfix(
                {name: f"{value:.3f}" for name, value in figures.items()}, refresh=False
            )
            progress.update()

        result = validation.fit(fold, report)
        log_parameters(
            fold_run_id, {"fold": fold, "best_epoch": result.best_epoch, "epochs": result.epochs}
        )
        log_metrics(fold_run_id, {"seconds": result.seconds}, step=result.epochs)
        figures = {f"fusion/{n}": v for n, v in result.network.fusion.figures().items()}
        log_metrics(fold_run_id, figures, step=result.best_epoch)
        log_table(fold_run_id, result.predictions, "predictions.parquet")
        chosen = choose_thresholds(result.predictions, validation.classes, config.positive_class)
        for threshold in chosen.values():
            log_metrics(fold_run_id, {"threshold": threshold.value}, step=result.best_epoch)
    return result


def _log_start(
    run_id: str, config: TrialConfig, store: ClipStore, validation: CrossValidation
) -> None:
    """Log all that is known before the training: configuration, data set and folds."""
    client = MlflowClient()
    client.set_tag(run_id, "asd.level", "trial")
    resolved = {
        **asdict(config),
        "clip_stride": config.stride,
        "device": training_device(config),
        "precision": precision(config),
    }
    facts = {
        "classes": ", ".join(validation.classes),
        "num_patients": store.videos["patient_id"].nunique(),
        "num_videos": len(store.videos),
        "num_clips": len(validation.clips),
        "num_short_videos": int(
            (
                validation.clips["clip_stop"] - validation.clips["clip_start"] < config.clip_length
            ).sum()
        ),
    }
    log_parameters(run_id, {**resolved, **facts})
    client.log_text(run_id, yaml.safe_dump(resolved, sort_keys=False), "config.yaml")
    origin = {"digest": store.digest, "recipe": store.recipe, "backends": store.backends}
    client.log_dict(run_id, {**origin, "failures": store.failures}, "store.json")
    log_table(run_id, validation.manifest, "folds.csv")
    client.log_inputs(run_id, [dataset_input(store, "training")])


def _model_card(
    config: TrialConfig,
    store: ClipStore,
    validation: CrossValidation,
    thresholds: Mapping[int, float],
) -> ModelCard:
    return ModelCard(
        network=config.network,
        classes=validation.classes,
        positive_class=config.positive_class,
        thresholds={str(fold): value for fold, value in thresholds.items()},
        clip_stride=config.stride,
        segmentation=config.segmentation,
        recipe=store.recipe,
        folds=validation.num_folds,
    )


def _summary(metrics: Mapping[str, float]) -> str:
    """The pooled test figures as a Markdown table, one row per unit."""
    columns = ("balanced_accuracy", "sensitivity", "specificity", "f1")
    lines = [
        f"| test, pooled | AUROC [95 % CI] | {' | '.join(c.replace('_', ' ') for c in columns)} |",
        f"|---|---|{'---|' * len(columns)}",
    ]
    for unit in ("patient", "video", "clip"):
        low, high = (metrics.get(f"test/{unit}/auroc_ci_{end}") for end in ("low", "high"))
        interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
        values = [_figure(metrics, f"test/{unit}/{column}") for column in columns]
        auroc = _figure(metrics, f"test/{unit}/auroc")
        lines.append(f"| {unit} | {auroc}{interval} | {' | '.join(values)} |")
    return "\n".join(lines)


def _figure(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else "undefined"


def _print_summary(run_id: str, metrics: Mapping[str, float], model_uri: str) -> None:
    """Say what came out and how to open it."""
    print(f"\n{_summary(metrics)}\n")
    print("\n".join(where_to_see(run_id)))
    print(f"Load it:  mlflow.set_tracking_uri({tracking_address()!r})")
    print(f"          model = mlflow.pyfunc.load_model({model_uri!r})")
