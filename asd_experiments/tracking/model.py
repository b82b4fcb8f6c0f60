"""The logged model: networks and all that it takes to classify a raw video with them.

It holds no pickled object: weights are safetensors, everything else is JSON, and MLflow loads it
through `_load_pyfunc` of this module, whose code travels with the model.
"""

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import mlflow
import pandas as pd
import torch
import zarr
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from safetensors.torch import load_file

from asd_experiments.data.clips import ClipDataset, list_clips
from asd_experiments.data.store import ClipStore
from asd_experiments.errors import InputError
from asd_experiments.evaluation.predictions import probability_columns
from asd_experiments.models.two_stream import TwoStream, build_two_stream
from asd_experiments.normalisation import Normalisation
from asd_experiments.tracking.answers import RequestedVideo, VideoClips, answer_table
from asd_experiments.tracking.model_signature import PredictOptions
from asd_experiments.tracking.model_spec import FINAL, ModelSpec
from asd_experiments.tracking.requirements import library_versions
from asd_experiments.tracking.video_input import AllowedInput, is_served, video_name
from asd_experiments.training.prediction import predict_by_each
from preprocess.decode import VideoError
from preprocess.flags import judge
from preprocess.pipeline import Preprocessor
from preprocess.quality import quality_figures

SPEC = "two_stream.json"
PREPROCESSING_WEIGHTS = "preprocessing_weights"
"""File and folder in the model's files."""

_DOUBTFUL = 2  # severity of a flag from which on an answer is not to be trusted


class TwoStreamVideoModel:
    """Classifies raw videos; what `mlflow.pyfunc.load_model` gives.

    Networks are read when they are first needed, and only those that are.

    Args:
        folder: The model's files.
        allowed: What may be read for a request; by default, everything.
    """

    def __init__(self, folder: Path, allowed: AllowedInput | None = None) -> None:
        self._folder = folder
        self._allowed = allowed or AllowedInput()
        self.spec = ModelSpec.read(folder / SPEC)
        self._networks: dict[int, TwoStream] = {}

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify videos.

        Args:
            model_input: A column `video` with videos as base64, paths or URLs, see
                `AllowedInput.video_file`, and, if videos of a patient are to be taken together, a
                column `patient_id`.
            params: See `PredictOptions`.

        Returns:
            One row per video, in order, see `answers.answer_table` and the columns in
            `model_signature.output_columns`. What is empty is None, which JSON has a word for.

        Raises:
            MlflowException: With the code of a request that is wrong: if the input or a parameter
                is, or no video could be classified.
        """
        try:
            options = self.options(params)
            if "video" not in model_input.columns:
                raise InputError("the input must have a column 'video' with one video in a row")
            if model_input.empty:
                raise InputError("the input must have at least one row, got none")
        except InputError as error:
            raise _refusal(str(error)) from error
        rows = [
            self._row(cell, patient, options)
            for cell, patient in zip(model_input["video"], _patients(model_input), strict=True)
        ]
        if all(row.result is None for row in rows):
            reasons = "; ".join(
                f"row {number}: {row.problem}" for number, row in enumerate(rows, start=1)
            )
            raise _refusal(f"no video could be classified: {reasons}")
        table = self.answers(rows, options)
        gaps = table.columns[table.isna().any()]
        return table.astype(dict.fromkeys(gaps, object)).where(table.notna(), None)

    def options(self, params: Mapping[str, Any] | None = None) -> PredictOptions:
        """Check the parameters of a prediction.

        Raises:
            InputError: If one is wrong, this model has no such fold, this machine has no such
                device, or this model cannot classify at all.
        """
        options = PredictOptions.read(dict(params or {}))
        self.spec.check_complete()
        self.spec.networks(options.fold)
        if options.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device=cuda, but PyTorch finds no GPU; choose auto or cpu")
        return options

    def clips_of(self, video: Path, options: PredictOptions | None = None) -> VideoClips:
        """Preprocess one file just as the training videos were, and classify its clips.

        Args:
            video: The file.
            options: What `options` gave. None: the defaults.

        Raises:
            VideoError: If the file is no video that can be classified; the message says why and
                never holds a path.
            ScratchError: If there is no room for temporary files.
        """
        options = options or self.options()
        store = self._prepared(video)
        clips = list_clips(
            store.videos,
            clip_length=self.spec.network["clip_length"],
            clip_stride=options.clip_stride or self.spec.clip_stride,
        )
        numbers = self.spec.networks(options.fold)
        tables = predict_by_each(
            [self.network(number) for number in numbers],
            self.dataset(store, clips),
            self.spec.classes,
            batch_size=options.batch_size,
            device=_device(options),
            by_stream=False,
            before_batch=self._before_batch,
        )
        places = clips[["clip_start", "clip_start_seconds"]]
        columns = probability_columns(self.spec.classes)
        per_network = [
            pd.concat([places, table[columns]], axis=1).assign(fold=number)
            for number, table in zip(numbers, tables, strict=True)
        ]
        facts = store.videos.iloc[0]
        return VideoClips(
            clips=pd.concat(per_network, ignore_index=True),
            source_sha256=str(facts["source_sha256"]),
            person_share=float(facts["person_share"]),
            frame_rate_hz=float(facts["frame_rate_hz"]),
            flags=self._flags(store),
        )

    def answers(
        self, videos: list[RequestedVideo], options: PredictOptions | None = None
    ) -> pd.DataFrame:
        """Turn the clips of many videos into answers, see `answer_table`.

        Args:
            videos: Videos with what `clips_of` gave for each, by the same options.
            options: Those options. None: the defaults.
        """
        options = options or self.options()
        return answer_table(self.spec, videos, versions=json.dumps(self.versions(options)))

    def versions(self, options: PredictOptions) -> dict[str, Any]:
        """What an answer rests on: the model, and the software here and where it was trained."""
        return {
            "model": {
                "run_id": self.spec.run_id,
                "clip_store": self.spec.store_digest,
                "final": self.spec.final,
                "networks": self.spec.networks(options.fold),
            },
            "trained": {**self.spec.trained_with, "preprocessing": self.spec.backends},
            "here": {**library_versions(), "preprocessing": self._preprocessor.backends},
        }

    def network(self, number: int) -> TwoStream:
        """The network of a fold, counted from 0, or the refitted one; it is loaded once."""
        if number not in self._networks:
            with torch.device("meta"):  # weights drawn at random would only be thrown away
                network = self.fresh_network()
            weights = load_file(weights_file(self._folder, number))
            network.load_state_dict(weights, assign=True)
            self._networks[number] = network
        return self._networks[number]

    def fresh_network(self) -> TwoStream:
        """A network like those of the folds, with fresh weights."""
        return build_two_stream(**self.spec.network, num_classes=len(self.spec.classes))

    def dataset(self, store: ClipStore, clips: pd.DataFrame) -> ClipDataset:
        """Clips as the networks were trained to see them.

        Args:
            store: Where the clips are.
            clips: Rows of `list_clips`.
        """
        return ClipDataset(
            store,
            clips,
            classes=self.spec.classes,
            clip_length=self.spec.network["clip_length"],
            size=self.spec.network["size"],
            segmentation=self.spec.segmentation,
            normalisation=Normalisation(**self.spec.normalisation),
        )

    def _row(self, cell: object, patient: str | None, options: PredictOptions) -> RequestedVideo:
        """Classify what one row of a request names, or say why that cannot be."""
        name = video_name(cell)
        try:
            with self._video_file(cell) as video:
                return RequestedVideo(name, patient, self.clips_of(video, options))
        except VideoError as error:
            return RequestedVideo(name, patient, problem=str(error))

    def _before_batch(self) -> None:
        """Where a model that answers strangers gives up a video."""

    def _video_file(self, cell: object) -> AbstractContextManager[Path]:
        return self._allowed.video_file(cell)

    def _prepared(self, video: Path) -> ClipStore:
        """A clip store in memory that holds this video alone."""
        memory = zarr.storage.MemoryStore()
        label = self.spec.classes[0]
        if reason := self._preprocessor.store_alone(video, memory, label=label):
            raise VideoError(reason)
        return ClipStore(memory)

    def _flags(self, store: ClipStore) -> str:
        """What the rules of the preprocessing report find, worst first."""
        (judged,) = judge(
            list(quality_figures(store, rows=[1])),
            size=store.size,
            margin=self.spec.recipe["margin"],
            rate_hz=self.spec.frame_rate_hz,
        )
        told = "; ".join(flag.sentence for flag in judged.flags)
        doubtful = any(flag.severity >= _DOUBTFUL for flag in judged.flags)
        return f"do not trust: {told}" if doubtful else told

    @cached_property
    def _preprocessor(self) -> Preprocessor:
        folder = self._folder / PREPROCESSING_WEIGHTS
        weights = {file.name: file.read_bytes() for file in folder.glob("*")}
        return Preprocessor(self.spec.recipe, weights)


def weights_file(folder: Path, number: int) -> Path:
    """File of a network among the model's files.

    Args:
        folder: The model's files.
        number: Number of a fold, counted from 0, or `FINAL` for the refitted network.
    """
    name = "refit" if number == FINAL else f"fold_{number}"
    return folder / f"{name}.safetensors"


def load_trial_model(uri: str) -> TwoStreamVideoModel:
    """Load a logged model to look into it; `mlflow.pyfunc.load_model` only lets it predict.

    Args:
        uri: What `TrialModelWriter.log` gave, or any address of a model.
    """
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    flavour = Model.load(folder).flavors["python_function"]
    return TwoStreamVideoModel(folder / flavour["data"])


def _load_pyfunc(path: str) -> TwoStreamVideoModel:
    """Load the model; MLflow calls this by its name."""
    if is_served():
        from asd_experiments.tracking.serving import served_model  # which stands on this module

        return served_model(Path(path))
    return TwoStreamVideoModel(Path(path), AllowedInput.told(os.environ, served=False))


def _patients(request: pd.DataFrame) -> list[str | None]:
    """Patient of every row; None where the request names none."""
    if "patient_id" not in request.columns:
        return [None] * len(request)
    column = request["patient_id"]
    return [
        None if empty or not str(cell).strip() else str(cell)
        for cell, empty in zip(column, column.isna(), strict=True)
    ]


def _device(options: PredictOptions) -> Literal["cpu", "cuda"]:
    return "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"


def _refusal(message: str) -> MlflowException:
    """An error that a server answers with a status of 400."""
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)
