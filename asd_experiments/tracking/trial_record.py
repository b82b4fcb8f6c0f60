"""What the runs of a trial and its folds hold: before the training, after a fold, at the end."""

import sys
from collections.abc import Mapping
from dataclasses import asdict

import pandas as pd
import torch
import yaml
from mlflow.tracking import MlflowClient

from asd_experiments.config import TrialConfig
from asd_experiments.data.store import ClipStore
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.temperature import fit_temperatures
from asd_experiments.models.size import model_size
from asd_experiments.models.two_stream import STREAM_CHANNELS, build_two_stream
from asd_experiments.pseudonyms import PARAMETER, Pseudonyms
from asd_experiments.tracking.anonymity import ANONYMISED, hidden, hidden_record
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.dataset import log_dataset, store_origin
from asd_experiments.tracking.finished_trial import FOLDS, PREDICTIONS, STORE
from asd_experiments.tracking.model_spec import ModelSpec
from asd_experiments.tracking.requirements import library_versions
from asd_experiments.tracking.runs import COLLAPSED, log_metrics, log_parameters
from asd_experiments.tracking.videos import log_videos
from asd_experiments.training.cross_validation import CrossValidation
from asd_experiments.training.fit import FoldResult, precision, training_device
from asd_experiments.training.refit import RefitResult
from asd_experiments.training.start import normalisation_of

CROSS_VALIDATED = tuple(
    f"test/patient/{metric}{end}"
    for metric in ("auroc", "sensitivity", "specificity")
    for end in ("", "_ci_low", "_ci_high")
)
"""Metrics of a trial that its logged model carries."""

TEMPERATURE = "asd.temperature"
"""Tag of the run of a fold whose temperature is an end of its range."""

UNDETERMINED = "at the end of its range: the inner validation patients do not determine it"


def log_start(
    run_id: str,
    config: TrialConfig,
    store: ClipStore,
    validation: CrossValidation,
    pseudonyms: Pseudonyms | None,
) -> None:
    """Log all that is known before the training: configuration, data set and folds."""
    client = MlflowClient()
    client.set_tag(run_id, "asd.level", "trial")
    if pseudonyms is not None:
        client.set_tag(run_id, ANONYMISED, pseudonyms.fingerprint)
    resolved = {
        **{name: value for name, value in asdict(config).items() if name != PARAMETER},
        "clip_stride": config.stride,
        "device": training_device(config.device),
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
    weights = {
        f"pretrained/{key}/{name}": value
        for key, fitted in validation.pretrained.items()
        for name, value in fitted.account.items()
    }
    normalisation = normalisation_of(config)
    scale = {
        f"normalisation_{name}": ", ".join(map(str, getattr(normalisation, name)))
        for name in ("mean", "std")
    }
    # A stride that only follows is no parameter in which trials of different lengths differ.
    typed = {"clip_stride": config.clip_stride or "clip_length"}
    log_parameters(run_id, {**resolved, **typed, **facts, **scale, **weights})
    client.log_text(run_id, yaml.safe_dump(resolved, sort_keys=False), "config.yaml")
    failures, manifest = store.failures, hidden(validation.manifest, pseudonyms)
    if pseudonyms is not None:
        failures = [hidden_record(failure, pseudonyms) for failure in failures]
        failures = sorted(failures, key=lambda failure: str(failure["video"]))
    client.log_dict(run_id, {**store_origin(store), "failures": failures}, STORE)
    log_table(run_id, manifest, FOLDS)
    log_videos(run_id, store, pseudonyms, config.group_by)
    log_dataset(run_id, store, "training")


def model_figures(config: TrialConfig, num_classes: int) -> dict[str, float]:
    """Parameters of both streams and the fusion, and what one clip costs them."""
    with torch.device("meta"):
        model = build_two_stream(**config.network, num_classes=num_classes)
    frames = (config.clip_length, config.size, config.size)
    size = model_size(model, *((STREAM_CHANNELS[s], *frames) for s in ("appearance", "motion")))
    return {"model/parameters": float(size.parameters), "model/gmacs": size.gmacs}


def log_fold(
    fold_run_id: str,
    config: TrialConfig,
    validation: CrossValidation,
    result: FoldResult,
    collapse: list[str],
    pseudonyms: Pseudonyms | None,
) -> None:
    """Log what the training of a fold has left behind, and why it has collapsed if it has."""
    log_parameters(
        fold_run_id,
        {"fold": result.fold, "best_epoch": result.best_epoch, "epochs": result.epochs},
    )
    log_metrics(fold_run_id, {"seconds": result.seconds}, step=result.epochs)
    figures = {f"fusion/{n}": v for n, v in result.network.fusion.figures().items()}
    log_metrics(fold_run_id, figures, step=result.best_epoch)
    log_table(fold_run_id, hidden(result.predictions, pseudonyms), PREDICTIONS)
    predictions = Predictions(result.predictions, validation.classes, config.positive_class)
    for threshold in predictions.thresholds.values():
        log_metrics(fold_run_id, {"threshold": threshold}, step=result.best_epoch)
    for temperature in fit_temperatures(predictions).values():
        log_metrics(fold_run_id, {"temperature": temperature.value}, step=result.best_epoch)
        if temperature.at_bound:
            MlflowClient().set_tag(fold_run_id, TEMPERATURE, UNDETERMINED)
    if collapse:
        MlflowClient().set_tag(fold_run_id, COLLAPSED, "; ".join(collapse))


def report_collapse(run_id: str, collapsed: Mapping[int, list[str]], num_folds: int) -> None:
    """Say on the terminal and in the trial's run which folds cannot be taken at face value."""
    folds = ", ".join(str(fold + 1) for fold in collapsed)
    MlflowClient().set_tag(run_id, COLLAPSED, f"folds {folds} of {num_folds}")
    print(
        f"Collapsed folds: {folds} of {num_folds}. Their networks give (almost) all patients the "
        "same answer, whatever the figures say; what to try is in docs/training.md",
        file=sys.stderr,
    )


def log_refit(refit_run_id: str, result: RefitResult) -> None:
    """Log what the training on all patients has left behind."""
    epochs = len(result.history)
    log_parameters(refit_run_id, {"epochs": epochs})
    log_metrics(refit_run_id, {"refit_seconds": result.seconds}, step=epochs)
    figures = {f"fusion/{n}": v for n, v in result.network.fusion.figures().items()}
    log_metrics(refit_run_id, figures, step=epochs)


def make_spec(
    run_id: str,
    config: TrialConfig,
    store: ClipStore,
    predictions: Predictions,
    metrics: Mapping[str, float],
    pseudonyms: Pseudonyms | None,
    *,
    refit_epochs: int | None,
) -> ModelSpec:
    """All that the logged model needs beside its networks.

    Args:
        run_id: Run of the trial.
        config: Its configuration.
        store: Its clip store.
        predictions: What its folds predicted.
        metrics: How good that was.
        pseudonyms: What patients are called in all that is logged; None: by their ids.
        refit_epochs: Epochs of the network that was trained on all patients, if one was.
    """
    temperatures = fit_temperatures(predictions)
    return ModelSpec(
        network=config.network,
        classes=predictions.classes,
        positive_class=config.positive_class,
        thresholds={str(fold): value for fold, value in predictions.thresholds.items()},
        clip_stride=config.stride,
        segmentation=config.segmentation,
        normalisation=asdict(normalisation_of(config)),
        recipe=store.recipe,
        folds=len(temperatures),
        temperatures={str(fold): fitted.value for fold, fitted in temperatures.items()},
        final=config.final,
        refit_epochs=refit_epochs,
        frame_rate_hz=float(store.videos["frame_rate_hz"].median()),
        training_videos=sorted(store.videos["source_sha256"].unique()),
        training_patients=_called(store.videos["patient_id"], pseudonyms),
        anonymised=None if pseudonyms is None else pseudonyms.fingerprint,
        run_id=run_id,
        store_digest=store.digest,
        trained_with=library_versions(),
        backends=store.backends,
        figures={name: metrics[name] for name in CROSS_VALIDATED if name in metrics},
    )


def _called(patients: pd.Series, pseudonyms: Pseudonyms | None) -> list[str]:
    """Pseudonyms of patients; none where they have none, as no model carries ids."""
    if pseudonyms is None:
        return []
    return sorted(pseudonyms.patient(str(patient)) for patient in patients.unique())
