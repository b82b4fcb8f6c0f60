"""What goes into a logged model and what comes out, as its signature says."""

from typing import Annotated, Literal

from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from asd_experiments.errors import InputError, told_problems
from asd_experiments.evaluation.predictions import probability_columns
from asd_experiments.tracking.model_spec import FINAL

PATIENT = "patient_"
"""Begins the names of the columns that say of a whole patient what others say of a video."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PredictOptions:
    """Parameters of a prediction."""

    fold: int = FINAL
    """Answer with the network of this fold, counted from 0; -1: with all of them, or with the
    refitted one if the model has it."""

    clip_stride: Annotated[int, Field(ge=0)] = 0
    """Frames from the start of a clip to the next one's; 0: as trained."""

    batch_size: Annotated[int, Field(ge=1)] = 8
    """Clips that a network sees at once."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks compute; auto takes a GPU when there is one."""

    @classmethod
    def read(cls, params: dict[str, object]) -> "PredictOptions":
        """Check the parameters of a prediction.

        Raises:
            InputError: With every parameter that is unknown or wrong.
        """
        try:
            return TypeAdapter(cls).validate_python(params)
        except ValidationError as error:
            raise InputError("; ".join(told_problems(error.errors()))) from error


def output_columns(classes: list[str]) -> dict[str, DataType]:
    """Columns of an answer, in order, with their types."""
    probabilities = probability_columns(classes)
    return {
        "video": DataType.string,
        "patient_id": DataType.string,
        "decision": DataType.string,
        **dict.fromkeys(probabilities, DataType.double),
        "threshold": DataType.double,
        "num_clips": DataType.long,
        "person_share": DataType.double,
        "flags": DataType.string,
        "problem": DataType.string,
        f"{PATIENT}decision": DataType.string,
        **dict.fromkeys((f"{PATIENT}{name}" for name in probabilities), DataType.double),
        f"{PATIENT}num_videos": DataType.long,
        f"{PATIENT}num_clips": DataType.long,
        "versions": DataType.string,
    }


def signature(classes: list[str]) -> ModelSignature:
    """Signature of a model that tells these classes apart."""
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "video"),
        ColSpec(DataType.string, "patient_id", required=False),
    ]
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(kind, name) for name, kind in output_columns(classes).items()
    ]
    defaults = PredictOptions()
    params = [
        ParamSpec("fold", DataType.long, defaults.fold),
        ParamSpec("clip_stride", DataType.long, defaults.clip_stride),
        ParamSpec("batch_size", DataType.long, defaults.batch_size),
        ParamSpec("device", DataType.string, defaults.device),
    ]
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema(params))
