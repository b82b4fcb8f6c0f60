"""The logged model: weights of all folds and all that it takes to classify a raw video.

It holds no pickled object: weights are safetensors, everything else is JSON, and MLflow loads it
through `_load_pyfunc` of this module, whose code travels with the model.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import zarr
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from safetensors.torch import load_file, save_file

import asd_experiments
import preprocess
from asd_experiments.data.clips import ClipDataset, list_clips
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import video_key
from asd_experiments.data.store_writer import StoreWriter
from asd_experiments.data.video_file import file_sha256
from asd_experiments.evaluation.predictions import probability_columns
from asd_experiments.models.two_stream import TwoStream, build_two_stream
from asd_experiments.normalisation import Normalisation
from asd_experiments.training.prediction import predict_clips
from preprocess.pipeline import Preprocessor

ALL_FOLDS = -1
"""Value of the prediction parameter `fold` that averages the networks of all folds."""

REQUIREMENTS = (
    "av",
    "jaxtyping",
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pyarrow",
    "pydantic",
    "pytorchvideo",
    "safetensors",
    "scipy",
    "torch",
    "torchvision",
    "tqdm",
    "zarr",
)
_CARD = "two_stream.json"
_WEIGHTS = "preprocessing_weights"


@dataclass(frozen=True)
class ModelCard:
    """All that it takes to rebuild the networks of a trial and to feed them."""

    network: dict[str, Any]
    """Arguments of `build_two_stream` but the number of classes."""

    classes: list[str]
    """Labels in the order of the network's outputs."""

    positive_class: str
    """Label that is decided by the threshold (two classes)."""

    thresholds: dict[str, float]
    """Decision threshold of each fold; empty for three or more classes."""

    clip_stride: int
    """Frames from the start of a clip to the next one's."""

    segmentation: bool
    """Whether both streams are blank outside the body."""

    normalisation: dict[str, Any]
    """Mean and deviation that RGB is scaled to; they belong to the weights."""

    recipe: dict[str, Any]
    """Preprocessing parameters."""

    folds: int
    """Number of networks."""


class TrialModelWriter:
    """Collects the networks of a trial's folds on disk and logs them as one model.

    Args:
        folder: An empty folder for the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add_fold(self, fold: int, network: TwoStream) -> None:
        """Keep the weights of one fold."""
        save_file(network.state_dict(), str(_weights_file(self._folder, fold)))

    def log(self, run_id: str, card: ModelCard, weights: Mapping[str, bytes]) -> str:
        """Log the model to a run.

        Args:
            run_id: The run.
            card: What else belongs to the networks.
            weights: Weights of the networks that preprocess videos, by role.

        Returns:
            The model's URI.
        """
        (self._folder / _CARD).write_text(json.dumps(asdict(card), indent=2))
        for role, content in weights.items():
            (self._folder / _WEIGHTS).mkdir(exist_ok=True)
            (self._folder / _WEIGHTS / role).write_bytes(content)
        with warnings.catch_warnings():
            # An example would have to be a video file; the signature says what goes in.
            warnings.filterwarnings("ignore", ".*An input example was not provided")
            info = Model.log(
                artifact_path=None,
                name="model",
                flavor=mlflow.pyfunc,
                run_id=run_id,
                loader_module=__name__,
                data_path=str(self._folder),
                code_paths=[
                    str(Path(package.__path__[0])) for package in (asd_experiments, preprocess)
                ],
                pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
                signature=_signature(card.classes),
            )
        return str(info.model_uri)


class TwoStreamVideoModel:
    """Classifies raw videos; what `mlflow.pyfunc.load_model` gives.

    Args:
        folder: The model's files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.card = ModelCard(**json.loads((folder / _CARD).read_text()))
        self._networks: dict[int, TwoStream] = {}

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify videos.

        Args:
            model_input: A column `video` with paths of video files.
            params: `fold`: classify with the network of this fold only (-1: the mean over all
                folds); `batch_size`: clips at a time.

        Returns:
            One row per video: `video`, `decision`, `probability_<class>`, `num_clips`,
            `person_share` (share of frames that show the person), and `problem`, which says why
            a video could not be classified (the other columns are then empty).

        Raises:
            ValueError: If there is no column `video` or no such fold.
        """
        if "video" not in model_input.columns:
            raise ValueError("the input must have a column 'video' with paths of video files")
        options = {"fold": ALL_FOLDS, "batch_size": 8, **(params or {})}
        folds = self._folds(int(options["fold"]))
        rows = [
            self._classify(Path(str(path)), folds, int(options["batch_size"]))
            for path in model_input["video"]
        ]
        return pd.DataFrame(rows, columns=output_columns(self.card.classes))

    def _folds(self, fold: int) -> list[int]:
        if fold == ALL_FOLDS:
            return list(range(self.card.folds))
        if 0 <= fold < self.card.folds:
            return [fold]
        raise ValueError(f"fold must be 0 to {self.card.folds - 1}, or -1 for all, got {fold}")

    def _classify(self, video: Path, folds: list[int], batch_size: int) -> dict[str, Any]:
        empty = {"video": str(video), "decision": None, "num_clips": 0, "person_share": np.nan}
        if not video.is_file():
            return {**empty, "problem": "there is no such file"}
        memory = zarr.storage.MemoryStore()
        if reason := self._prepare(video, memory):
            return {**empty, "problem": reason}
        store = ClipStore(memory)
        clips = list_clips(
            store.videos,
            clip_length=self.card.network["clip_length"],
            clip_stride=self.card.clip_stride,
        )
        columns = probability_columns(self.card.classes)
        dataset = self.dataset(store, clips)
        per_fold = [self._predict(dataset, fold, batch_size)[columns] for fold in folds]
        probabilities = np.mean([table.mean().to_numpy() for table in per_fold], axis=0)
        return {
            "video": str(video),
            "decision": self._decide(probabilities, folds),
            **dict(zip(columns, probabilities, strict=True)),
            "num_clips": len(clips),
            "person_share": store.videos["person_share"].iloc[0],
            "problem": "",
        }

    def _prepare(self, video: Path, memory: zarr.storage.MemoryStore) -> str | None:
        """Preprocess a video just as the command `preprocess` does; say why if it cannot be."""
        preprocessor = self._preprocessor
        writer = StoreWriter(memory, preprocessor.recipe, preprocessor.backends, self._weights)
        if reason := preprocessor.failure(video, writer):
            return reason
        row = {"video": "video", "patient_id": "", "label": self.card.classes[0]}
        key = video_key(file_sha256(video))
        writer.finish([{**row, "key": key}], failures=[])
        return None

    @cached_property
    def _preprocessor(self) -> Preprocessor:
        return Preprocessor(self.card.recipe, self._weights)

    @cached_property
    def _weights(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (self._folder / _WEIGHTS).glob("*")}

    def dataset(self, store: ClipStore, clips: pd.DataFrame) -> ClipDataset:
        """Clips as the networks were trained to see them.

        Args:
            store: Where the clips are.
            clips: Rows of `list_clips`.
        """
        return ClipDataset(
            store,
            clips,
            classes=self.card.classes,
            clip_length=self.card.network["clip_length"],
            size=self.card.network["size"],
            segmentation=self.card.segmentation,
            normalisation=Normalisation(**self.card.normalisation),
        )

    def network(self, fold: int) -> TwoStream:
        """The network of a fold, counted from 0; it is loaded once."""
        if fold not in self._networks:
            network = self.fresh_network()
            network.load_state_dict(load_file(_weights_file(self._folder, fold)))
            self._networks[fold] = network
        return self._networks[fold]

    def fresh_network(self) -> TwoStream:
        """A network like those of the folds, with fresh weights."""
        return build_two_stream(**self.card.network, num_classes=len(self.card.classes))

    def _predict(self, dataset: ClipDataset, fold: int, batch_size: int) -> pd.DataFrame:
        return predict_clips(
            self.network(fold), dataset, self.card.classes, batch_size=batch_size, by_stream=False
        )

    def _decide(self, probabilities: np.ndarray, folds: list[int]) -> str:
        """Threshold for two classes (the mean of the folds' own), else the most probable class."""
        classes = self.card.classes
        if not self.card.thresholds:
            return classes[int(probabilities.argmax())]
        positive = classes.index(self.card.positive_class)
        threshold = np.mean([self.card.thresholds[str(fold)] for fold in folds])
        return classes[positive if probabilities[positive] >= threshold else 1 - positive]


def output_columns(classes: list[str]) -> list[str]:
    """Columns of a prediction, in order."""
    return [
        "video",
        "decision",
        *probability_columns(classes),
        "num_clips",
        "person_share",
        "problem",
    ]


def _signature(classes: list[str]) -> ModelSignature:
    text = {"video", "decision", "problem"}
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(
            DataType.string
            if name in text
            else DataType.long
            if name == "num_clips"
            else DataType.double,
            name,
        )
        for name in output_columns(classes)
    ]
    params = [
        ParamSpec("fold", DataType.long, ALL_FOLDS),
        ParamSpec("batch_size", DataType.long, 8),
    ]
    return ModelSignature(
        Schema([ColSpec(DataType.string, "video")]), Schema(outputs), ParamSchema(params)
    )


def _weights_file(folder: Path, fold: int) -> Path:
    return folder / f"fold_{fold}.safetensors"


def load_trial_model(uri: str) -> TwoStreamVideoModel:
    """Load a logged model to look into it; `mlflow.pyfunc.load_model` only lets it predict.

    Args:
        uri: What `TrialModelWriter.log` gave.
    """
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    flavour = Model.load(folder).flavors["python_function"]
    return TwoStreamVideoModel(folder / flavour["data"])


def _load_pyfunc(path: str) -> TwoStreamVideoModel:
    """Load the model; MLflow calls this by its name."""
    return TwoStreamVideoModel(Path(path))
