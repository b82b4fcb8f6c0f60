"""Logging a trial's networks as one model of MLflow's, which runs without this project."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow.models import Model
from safetensors.torch import save_file

import asd_experiments
import preprocess
from asd_experiments.models.two_stream import TwoStream
from asd_experiments.tracking import model
from asd_experiments.tracking.model_signature import signature
from asd_experiments.tracking.model_spec import ModelSpec
from asd_experiments.tracking.requirements import pip_requirements


class TrialModelWriter:
    """Collects the networks of a trial on disk and logs them as one model.

    Args:
        folder: An empty folder for the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "two_stream"  # its name is seen in the model
        self._folder.mkdir()

    def add(self, number: int, network: TwoStream) -> None:
        """Keep the weights of a fold, counted from 0, or of the refitted network (`FINAL`)."""
        save_file(network.state_dict(), str(model.weights_file(self._folder, number)))

    def log(self, spec: ModelSpec, weights: Mapping[str, bytes]) -> str:
        """Log the model to the run that its specification names.

        Args:
            spec: What else belongs to the networks.
            weights: Weights of the networks that preprocess videos, by role.

        Returns:
            The model's URI.
        """
        spec.write(self._folder / model.SPEC)
        for role, content in weights.items():
            folder = self._folder / model.PREPROCESSING_WEIGHTS
            folder.mkdir(exist_ok=True)
            (folder / role).write_bytes(content)
        with warnings.catch_warnings():
            # An example would have to be a video file; the signature says what goes in.
            warnings.filterwarnings("ignore", ".*An input example was not provided")
            info = Model.log(
                artifact_path=None,
                name="model",
                flavor=mlflow.pyfunc,
                run_id=spec.run_id,
                metadata={"final": spec.final, "cross_validated": spec.figures},
                loader_module=model.__name__,
                data_path=str(self._folder),
                code_paths=[
                    str(Path(package.__path__[0])) for package in (asd_experiments, preprocess)
                ],
                pip_requirements=pip_requirements(self._folder.parent),
                signature=signature(spec.classes),
            )
        return str(info.model_uri)
