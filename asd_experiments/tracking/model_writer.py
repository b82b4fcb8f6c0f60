"""Logging a trial's networks as one model of MLflow's, which runs without this project."""

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import mlflow
from mlflow.models import Model
from safetensors.torch import save_file

import asd_experiments
import preprocess
from asd_experiments.models.two_stream import TwoStream
from asd_experiments.tracking import model
from asd_experiments.tracking.model_card import ModelCard
from asd_experiments.tracking.model_signature import signature

REQUIREMENTS = (
    "av",
    "fsspec",
    "jaxtyping",
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pebble",
    "pydantic",
    "pytorchvideo",
    "safetensors",
    "scipy",
    "torch",
    "torchvision",
    "zarr",
)


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

    def log(self, card: ModelCard, weights: Mapping[str, bytes]) -> str:
        """Log the model to the run that its card names.

        Args:
            card: What else belongs to the networks.
            weights: Weights of the networks that preprocess videos, by role.

        Returns:
            The model's URI.
        """
        card.write(self._folder / model.CARD)
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
                run_id=card.run_id,
                metadata={"final": card.final, "cross_validated": card.figures},
                loader_module=model.__name__,
                data_path=str(self._folder),
                code_paths=[
                    str(Path(package.__path__[0])) for package in (asd_experiments, preprocess)
                ],
                pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
                signature=signature(card.classes),
            )
        return str(info.model_uri)
