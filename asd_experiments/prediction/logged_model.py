"""The model that is to answer: found by its address, and told from others by its files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from asd_experiments.data.video_file import file_sha256
from asd_experiments.errors import InputError
from asd_experiments.tracking import model as model_module
from asd_experiments.tracking.finished_trial import known_run
from asd_experiments.tracking.model import TwoStreamVideoModel
from asd_experiments.tracking.runs import MODEL, is_tracker_lost, tracking_address

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_VERSION = re.compile(r"models:/+(?P<name>[^/@]+)(?:/(?P<number>\d+)|@(?P<alias>[^/@]+))/*")


@dataclass(frozen=True)
class LoggedModel:
    """A logged model with its files on this machine."""

    given: str
    """What a user called it."""

    address: str
    """Where MLflow has it."""

    model_id: str | None
    """Its id in MLflow; None: it was copied out of it."""

    version: ModelVersion | None
    """Version of a registered model that was asked for, if one was."""

    folder: Path
    """The model's files."""

    @classmethod
    def find(cls, given: str) -> "LoggedModel":
        """Find a model of this project's.

        Args:
            given: Its address, or the id of the run of a training.

        Raises:
            InputError: If there is none, or it is another program's.
        """
        address = _address_in_run(given) if _RUN_ID.fullmatch(given) else given
        try:
            version = _version(address)
            folder = Path(mlflow.artifacts.download_artifacts(address))
            about = Model.load(folder)
        except (MlflowException, OSError) as error:
            if is_tracker_lost(error):
                raise
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise InputError(
                f"model: {given!r} cannot be had from {tracking_address()}: {reason}; give "
                "models:/NAME@ALIAS, models:/NAME/VERSION, models:/MODEL_ID or the id of a run "
                "(set MLFLOW_TRACKING_URI if it is on another server)"
            ) from error
        flavour = about.flavors.get("python_function", {})
        if flavour.get("loader_module") != model_module.__name__:
            raise InputError(
                f"model: {given!r} is no model of this project's; give one that train or sweep has "
                "logged"
            )
        return cls(given, address, about.model_id, version, folder / flavour["data"])

    @cached_property
    def networks(self) -> TwoStreamVideoModel:
        """The model, ready to answer."""
        return TwoStreamVideoModel(self.folder)

    @property
    def name(self) -> str:
        """What to call it where its address is too long."""
        if self.version is not None:
            return f"{self.version.name} version {self.version.version}"
        return self.model_id or self.folder.name

    def files(self) -> Iterator[tuple[str, Path]]:
        """Its files in order, by their names below the folder."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                yield path.relative_to(self.folder).as_posix(), path

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all files: other weights, or another specification, are another model."""
        lines = (f"{file_sha256(path)} {name}\n" for name, path in self.files())
        return sha256("".join(lines).encode()).hexdigest()


def _address_in_run(run_id: str) -> str:
    run = known_run(run_id, "model")
    if MODEL not in run.data.tags:
        level = run.data.tags.get("asd.level", "another program")
        raise InputError(
            f"model: the run {run_id} (of {level}) has logged no model; give the run of a finished "
            "training"
        )
    return str(run.data.tags[MODEL])


def _version(address: str) -> ModelVersion | None:
    """The version of a registered model that an address means; None if it means none."""
    found = _VERSION.fullmatch(address)
    if found is None:
        return None
    client, name = MlflowClient(), found["name"]
    if found["alias"]:
        return client.get_model_version_by_alias(name, found["alias"])
    return client.get_model_version(name, found["number"])
