"""Versions of registered models: how they come about, are found, and lead to their trials."""

from collections.abc import Iterator

import mlflow
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from asd_experiments.errors import InputError
from asd_experiments.tracking.finished_trial import FinishedTrial
from asd_experiments.tracking.runs import MODEL, is_tracker_lost, tracking_address

CANDIDATE = "candidate"
"""Alias of the version that was registered last."""

CHAMPION = "champion"
"""Alias of the version in use, which only `promote` moves."""

_THERE_IS_NONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no model; no alias

TRIAL_RUN = "asd.trial_run"
"""Tag of a version: run of the trial that its model is from."""


def register(run: Run, name: str) -> ModelVersion:
    """Register the model of a trial; one that is registered already keeps its version.

    Args:
        run: Run of a finished trial.
        name: Registered model; it is made if there is none of this name.

    Raises:
        InputError: If the run has no model.
    """
    model = run.data.tags.get(MODEL)
    if model is None:
        raise InputError(
            f"the run {run.info.run_id} has no model (tag {MODEL}); train it anew to register one"
        )
    known = [v for v in versions_of(run.info.run_id) if v.name == name]
    number = str((known or [mlflow.register_model(model, name)])[-1].version)
    client = MlflowClient()
    client.set_registered_model_alias(name, CANDIDATE, number)
    client.set_model_version_tag(name, number, TRIAL_RUN, run.info.run_id)
    return client.get_model_version(name, number)


def versions_of(run_id: str) -> list[ModelVersion]:
    """Versions that the model of a run is registered as, the oldest first."""
    found = MlflowClient().search_model_versions(f"run_id = '{run_id}'")
    return sorted(found, key=lambda version: (version.name, int(version.version)))


def all_versions() -> Iterator[ModelVersion]:
    """Every version of every registered model of the tracking server."""
    token = None
    while True:
        page = MlflowClient().search_model_versions(max_results=1000, page_token=token)
        yield from page
        if not (token := page.token):
            return


def known_version(name: str, version: str) -> ModelVersion:
    """A version by its number or alias.

    Raises:
        InputError: If there is no such version; with those that there are.
    """
    client = MlflowClient()
    try:
        if version.isdecimal():
            return client.get_model_version(name, version)
        return client.get_model_version_by_alias(name, version)
    except MlflowException as error:
        if is_tracker_lost(error):
            raise
        raise InputError(f"version: {_what_there_is(name, version)}") from error


def champion_of(name: str) -> ModelVersion | None:
    """The version that has the alias `champion`; None if there is none yet."""
    try:
        return MlflowClient().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in _THERE_IS_NONE:
            raise
        return None


def trial_of(version: ModelVersion, parameter: str) -> FinishedTrial:
    """The trial that a version's model is from.

    Args:
        version: The version.
        parameter: The parameter, or the alias, that named it.

    Raises:
        InputError: If it is from no finished trial of ours.
    """
    run_id = version.tags.get(TRIAL_RUN) or version.run_id
    named = f"{parameter}: {told(version)}"
    if not run_id:
        raise InputError(
            f"{named} was registered without a run, so nothing tells what it was tested on; "
            "register the model of a trial by run="
        )
    return FinishedTrial.read(run_id, named)


def told(version: ModelVersion) -> str:
    """A version in words."""
    return f"{version.name} version {version.version}"


def _what_there_is(name: str, version: str) -> str:
    client = MlflowClient()
    models = {model.name: model for model in client.search_registered_models()}
    if name not in models:
        there = ", ".join(models) or "none"
        return (
            f"{tracking_address()} has no registered model {name!r}, only: {there}; a sweep and "
            "run= register one (set MLFLOW_TRACKING_URI if it is on another server)"
        )
    found = client.search_model_versions(f"name = '{name}'")
    numbers = sorted(int(known.version) for known in found)
    numbered = ", ".join(map(str, numbers)) or "none"
    aliases = ", ".join(models[name].aliases) or "none"
    return f"{name} has no version {version!r}; it has: {numbered}; aliases: {aliases}"
