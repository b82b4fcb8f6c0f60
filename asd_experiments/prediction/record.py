"""What a run of `predict` says of itself, without the name of any file or patient."""

from dataclasses import asdict

import pandas as pd
from mlflow.entities import LoggedModelInput, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from asd_experiments.prediction.logged_model import LoggedModel
from asd_experiments.tracking.checklist import VALIDATED_BY, VALIDATES
from asd_experiments.tracking.links import run_link, version_link
from asd_experiments.tracking.model_signature import PredictOptions
from asd_experiments.tracking.runs import MODEL, log_metrics, log_parameters


def log_start(
    run_id: str, model: LoggedModel, options: PredictOptions, trial: Run | None, *, labelled: bool
) -> None:
    """Log which model answers, and how."""
    client = MlflowClient()
    client.set_tag(run_id, "asd.level", "external" if labelled else "prediction")
    client.set_tag(run_id, MODEL, model.address)
    spec = model.networks.spec
    if labelled:
        client.set_tag(run_id, VALIDATES, spec.run_id)
    facts = {
        "model": model.given,
        "model_version": model.version.version if model.version else None,
        "model_digest": model.digest,
        "trial": spec.run_id,
        "final": spec.final,
        "classes": ", ".join(spec.classes),
        "positive_class": spec.positive_class,
    }
    log_parameters(run_id, {**asdict(options), **facts})
    _link_model(run_id, model)
    note = f"What {told_model(model, trial)} says of videos. Which videos they are is not logged."
    client.set_tag(run_id, MLFLOW_RUN_NOTE, note)


def log_counts(run_id: str, table: pd.DataFrame, *, num_new: int, seconds: float) -> None:
    """Log how many videos there were and what became of them.

    Args:
        run_id: The run.
        table: Answers, a row per video.
        num_new: Videos classified just now; the others were kept from before.
        seconds: How long it took.
    """
    decided = table["decision"].dropna()
    counts: dict[str, float] = {
        "num_videos": len(table),
        "num_classified": len(decided),
        "num_failed": len(table) - len(decided),
        "num_new": num_new,
        "num_flagged": int((table["flags"] != "").sum()),
        "seconds": seconds,
    }
    log_metrics(run_id, {name: float(value) for name, value in counts.items()})


def told_model(model: LoggedModel, trial: Run | None) -> str:
    """A model and its trial, as links where this server knows them."""
    name = model.name
    if model.version is not None:
        name = version_link(model.version.name, str(model.version.version), name)
    spec = model.networks.spec
    of = run_link(trial) if trial is not None else f"`{spec.run_id}` (not on this server)"
    return f"{name} (trial {of}, {spec.final})"


def link_back(run_id: str, model: LoggedModel, trial: Run | None) -> None:
    """Say on the trial and on the model's version which run validated it last."""
    client = MlflowClient()
    if trial is not None:
        client.set_tag(trial.info.run_id, VALIDATED_BY, run_id)
    if model.version is not None:
        client.set_model_version_tag(
            model.version.name, str(model.version.version), VALIDATED_BY, run_id
        )


def _link_model(run_id: str, model: LoggedModel) -> None:
    """Have MLflow show the model on the run's page, and the run on the model's."""
    if model.model_id is None:
        return
    client = MlflowClient()
    try:
        client.get_logged_model(model.model_id)
    except MlflowException:  # the model was copied from another server
        return
    client.log_inputs(run_id, models=[LoggedModelInput(model.model_id)])
