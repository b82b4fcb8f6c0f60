"""The command `train`: one cross-validated trial with everything about it in MLflow."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
from mlflow.tracking import MlflowClient

from asd_experiments.config import TrainConfig, TrialConfig, close_defaults
from asd_experiments.data.store import ClipStore
from asd_experiments.demo import DEMO_DEFAULTS, demo_store
from asd_experiments.errors import InputError
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.collapse import find_collapse
from asd_experiments.evaluation.metrics import SELECTION_METRIC, evaluate
from asd_experiments.interruption import Interrupted
from asd_experiments.models.pretrained import FittedWeights
from asd_experiments.progress import Progress, TrialProgress
from asd_experiments.pseudonyms import Pseudonyms
from asd_experiments.tracking.anonymity import begin_pseudonyms, hidden, told_by
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.evaluation import log_evaluation, summary
from asd_experiments.tracking.finished_trial import PREDICTIONS
from asd_experiments.tracking.model_spec import FINAL
from asd_experiments.tracking.model_writer import TrialModelWriter
from asd_experiments.tracking.runs import (
    MODEL,
    child_run,
    close_as_killed,
    command_run,
    has_finished,
    log_metrics,
    logged_steps,
    tracking_address,
    use_tracking_store,
    where_to_see,
)
from asd_experiments.tracking.trial_record import (
    log_fold,
    log_refit,
    log_start,
    make_spec,
    model_figures,
    report_collapse,
)
from asd_experiments.training.checkpoints import TrialFolder
from asd_experiments.training.cross_validation import CrossValidation, check_trial
from asd_experiments.training.fit import FoldResult
from asd_experiments.training.refit import RefitResult, refit_epochs


def train(config: TrainConfig) -> str:
    """Cross-validate one model and track it; without a store, on a simulated cohort.

    Returns:
        Id of the trial's run.

    Raises:
        InputError: If store, configuration and machine do not fit together, or the trial to
            resume is another one.
    """
    use_tracking_store()
    trial = close_defaults(config, **({} if config.store else DEMO_DEFAULTS))
    pretrained = check_trial(trial)
    if trial.store is None:
        trial = replace(trial, store=demo_store(trial.seed))
    store = ClipStore(str(trial.store))
    validation = CrossValidation(trial, store, pretrained)
    for key, weights in pretrained.items():
        print(f"Pretrained {key} network: {weights}")
    earlier = _unfinished(trial, store, pretrained) if trial.resume else None
    if trial.find_batch_size:
        found = earlier.batch_size if earlier else validation.find_batch_size()
        trial = replace(trial, batch_size=found)
        validation = CrossValidation(trial, store, pretrained)
    pseudonyms = None
    if trial.anonymise:
        pseudonyms = begin_pseudonyms(store, key_file=trial.pseudonym_key, group_by=trial.group_by)
    elif config.store is not None:
        print("Patients and videos are logged by their ids (anonymise=false).")
    try:
        with command_run(config.run_name, default_name(config), told=told_by(pseudonyms)) as run_id:
            folder = _folder(trial, store, validation, run_id, earlier)
            with (
                _told_how_to_resume(run_id, folder),
                TrialProgress(validation.num_folds, trial.epochs) as progress,
            ):
                metrics, model_uri = run_trial(
                    trial, store, validation, run_id, folder, progress, pseudonyms=pseudonyms
                )
            folder.delete()
    except Interrupted as error:
        raise SystemExit(f"train: {error}; its run in MLflow is closed as KILLED") from error
    _print_summary(run_id, metrics, model_uri)
    return run_id


def default_name(config: TrainConfig) -> str:
    """What tells a trial from others at a glance: its networks, their fusion, the clip length."""
    networks = dict.fromkeys((config.backbone, config.motion_backbone or config.backbone))
    return f"{'+'.join(networks)} {config.fusion} {config.clip_length} frames"


def _unfinished(
    config: TrialConfig, store: ClipStore, pretrained: Mapping[str, FittedWeights]
) -> TrialFolder:
    """What the trial to be resumed left behind, checked against this configuration."""
    if has_finished(str(config.resume)):
        raise InputError(f"resume: the run {config.resume} has finished; nothing is left to do")
    folder = TrialFolder.find(Path(config.checkpoints), str(config.resume))
    if config.find_batch_size:
        config = replace(config, batch_size=folder.batch_size)
    try:
        folder.check(config, store.digest, pretrained)
    except InputError:
        folder.close()
        raise
    return folder


def _folder(
    config: TrialConfig,
    store: ClipStore,
    validation: CrossValidation,
    run_id: str,
    earlier: TrialFolder | None,
) -> TrialFolder:
    """Folder of the trial, which its earlier runs hand on to this one."""
    if earlier is None:
        root = Path(config.checkpoints)
        return TrialFolder.new(root, run_id, config, store.digest, validation.pretrained)
    close_as_killed(earlier.runs[-1])
    MlflowClient().set_tag(run_id, "asd.resumed_from", earlier.runs[-1])
    earlier.continued_by(run_id)
    return earlier


def run_trial(
    config: TrialConfig,
    store: ClipStore,
    validation: CrossValidation,
    run_id: str,
    folder: TrialFolder,
    progress: Progress,
    *,
    pseudonyms: Pseudonyms | None = None,
    judged_by: Sequence[str] = (),
) -> tuple[dict[str, float], str]:
    """Train and evaluate all folds and log everything to a run, as soon as it is there.

    Args:
        config: Configuration of the trial.
        store: Its clip store.
        validation: Its folds, ready to be trained.
        run_id: Its run, open.
        folder: Where finished folds and the last epoch are kept; it stays as it is on an error.
        progress: Is told of every epoch and fold; what it raises ends the trial.
        pseudonyms: What patients and videos are called in all that is logged. None: by their ids.
        judged_by: Metrics to log first of all, as `Objective/...` too: MLflow's page that compares
            runs draws the metric that was logged first.

    Returns:
        The metrics, and the URI of the logged model.
    """
    log_start(run_id, config, store, validation, pseudonyms)
    with tempfile.TemporaryDirectory(prefix="model_") as model_folder:
        model = TrialModelWriter(Path(model_folder))
        tables, best_epochs, collapsed = [], [], {}
        for fold in range(validation.num_folds):
            result, reasons = _run_fold(
                run_id, config, validation, fold, folder, progress, pseudonyms
            )
            model.add(fold, result.network)
            tables.append(result.predictions)
            best_epochs.append(result.best_epoch)
            if reasons:
                collapsed[fold] = reasons
        if collapsed:
            report_collapse(run_id, collapsed, validation.num_folds)
        table, classes = pd.concat(tables, ignore_index=True), validation.classes
        table = hidden(table, pseudonyms)
        log_table(run_id, table, PREDICTIONS)
        predictions = Predictions(table, classes, config.positive_class)
        metrics = evaluate(predictions)
        epochs = None
        if config.final == "refit":
            epochs = refit_epochs(best_epochs)
            refitted = _run_refit(run_id, config, validation, epochs, folder, progress, pseudonyms)
            model.add(FINAL, refitted.network)
        spec = make_spec(
            run_id, config, store, predictions, metrics, pseudonyms, refit_epochs=epochs
        )
        model_uri = model.log(spec, store.weights())
        MlflowClient().set_tag(run_id, MODEL, model_uri)
        size = model_figures(config, len(classes))
        log_evaluation(run_id, judged_by=judged_by, model=size, metrics=metrics)
        return metrics, model_uri


@contextmanager
def _told_how_to_resume(run_id: str, folder: TrialFolder) -> Iterator[None]:
    try:
        yield
    except BaseException:
        folder.close()
        print(
            "What is done is kept. To go on, give the same command again with "
            f"resume={run_id} (kept in {folder.path.resolve()})",
            file=sys.stderr,
        )
        raise


def _run_fold(
    run_id: str,
    config: TrialConfig,
    validation: CrossValidation,
    fold: int,
    folder: TrialFolder,
    progress: Progress,
    pseudonyms: Pseudonyms | None,
) -> tuple[FoldResult, list[str]]:
    """Train one fold in a run of its own, with its curves, figures and predictions.

    A fold that an earlier run finished is logged as if it had been trained here.

    Returns:
        What its training left behind, and why it has collapsed if it has.
    """
    name = f"fold {fold + 1} of {validation.num_folds}"
    key, told = str(fold + 1), told_by(pseudonyms)
    with child_run(run_id, name, level="fold", key=key, told=told) as fold_run_id:
        logged = logged_steps(fold_run_id, SELECTION_METRIC)  # by a process that died

        def report(epoch: int, figures: dict[str, float]) -> None:
            if epoch not in logged:
                log_metrics(fold_run_id, figures, step=epoch)
            progress.epoch(fold, figures[SELECTION_METRIC])

        result = folder.finished(fold, config, len(validation.classes))
        if result is None:
            result = validation.fit(fold, report, folder.fold(fold))
            folder.keep(result)
        else:
            for number, figures in enumerate(result.history, start=1):
                report(number, figures)
        progress.fold_done(
            fold,
            epochs=result.epochs,
            best_epoch=result.best_epoch,
            loss=result.history[result.best_epoch - 1][SELECTION_METRIC],
        )
        collapse = find_collapse(result.predictions, validation.classes)
        log_fold(fold_run_id, config, validation, result, collapse, pseudonyms)
        for reason in collapse:
            progress.say(f"fold {fold + 1} has collapsed: {reason}")
    return result, collapse


def _run_refit(
    run_id: str,
    config: TrialConfig,
    validation: CrossValidation,
    epochs: int,
    folder: TrialFolder,
    progress: Progress,
    pseudonyms: Pseudonyms | None,
) -> RefitResult:
    """Train one network on all patients in a run of its own, or take the one that was kept."""
    name, told = "refit on all patients", told_by(pseudonyms)
    with child_run(run_id, name, level="refit", key="all", told=told) as refit_run_id:
        logged = logged_steps(refit_run_id, "train/clip/loss")

        def report(epoch: int, figures: dict[str, float]) -> None:
            if epoch not in logged:
                log_metrics(refit_run_id, figures, step=epoch)

        result = folder.finished_refit(config, len(validation.classes))
        if result is None:
            progress.say(f"refit: one network on all patients, {epochs} epochs")
            result = validation.refit(epochs, report, folder.refit)
            folder.keep_refit(result)
        else:
            for number, figures in enumerate(result.history, start=1):
                report(number, figures)
        log_refit(refit_run_id, result)
    return result


def _print_summary(run_id: str, metrics: Mapping[str, float], model_uri: str) -> None:
    """Say what came out and how to open it."""
    print(f"\n{summary(metrics)}\n")
    print("\n".join(where_to_see(run_id)))
    print(f"Load it:  mlflow.set_tracking_uri({tracking_address()!r})")
    print(f"          model = mlflow.pyfunc.load_model({model_uri!r})")
