"""Typed, frozen configuration of every command: the only place where a default lives."""

import os
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic.dataclasses import dataclass

BackboneName = Literal["c3d", "r2plus1d_18", "slowfast_50", "slow_50"]
FusionName = Literal[
    "appearance_only",
    "motion_only",
    "early_concat",
    "late_average",
    "late_weighted",
    "late_max",
    "late_separate",
    "late_joint",
    "feature_concat",
    "feature_sum",
    "feature_bilinear",
    "gated",
    "conv_fusion",
    "squeeze_excite",
    "lateral",
    "cross_attention",
]
PersonFinderName = Literal["motion", "detectron2", "torchvision", "onnx"]
SegmenterName = Literal["background", "grabcut", "torchvision"]
FlowName = Literal["dis", "raft_small", "raft_large"]

_SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _empty_means_unset(value: object) -> object:
    """Read an empty string as "not given": MLproject parameters have no other way to say it."""
    return None if isinstance(value, str) and not value.strip() else value


def _written_out(value: object) -> object:
    """Refuse an empty string where a value is needed, with the rule rather than a type error."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty")
    return value


Unset = BeforeValidator(_empty_means_unset)
Side = Annotated[int, Field(ge=32, le=1024)]
Width = Annotated[float, Field(gt=0, le=4)]
Rate = Annotated[float, Field(ge=1, le=240)]
Text = Annotated[str, BeforeValidator(_written_out)]


def as_text(value: object) -> str:
    """Write a value as MLproject and MLflow do: booleans in lower case, nothing for unset."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, config=_SETTINGS)
class ValidateConfig:
    """Check a labels file and its videos, and list every problem found."""

    videos: Text
    """Folder that the paths in the labels file start from."""

    labels: Text
    """CSV file with the columns video, patient_id and label."""


@dataclass(frozen=True, config=_SETTINGS)
class SimulateConfig:
    """Write a cohort of simulated walkers as videos with a labels file."""

    out: Text
    """Folder to create; refused if it holds anything already."""

    patients: Annotated[int, Field(ge=2)] = 24
    """Number of patients; half of them have ASD."""

    videos_per_patient: Annotated[int, Field(ge=1)] = 2
    """Walks filmed of each patient."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything drawn at random; the same seed gives the same cohort."""

    effect: Annotated[float, Field(ge=0, le=3)] = 1.0
    """Size of the class differences: 0 makes ASD and non-ASD walk alike, 1 overlaps plausibly."""

    seconds: Annotated[float, Field(gt=0.5, le=600)] = 3.0
    """Length of each video, seconds."""

    frame_rate_hz: Annotated[int, Field(ge=10, le=60)] = 25
    """Frames per second."""

    height: Annotated[int, Field(ge=96, le=2160, multiple_of=2)] = 240
    """Height of the picture, pixels; the width is 16/9 of it."""

    truth: bool = False
    """Also write the true masks, boxes and optical flow beside each video (large)."""


_PLACES = {
    *("videos", "labels", "store"),
    *("people_weights", "people_config", "segment_weights", "flow_weights"),
    *("workers", "ray_address", "overlays"),
}
FINDERS_WITHOUT_MASKS: frozenset[PersonFinderName] = frozenset({"onnx"})


@dataclass(frozen=True, config=_SETTINGS)
class PreprocessConfig:
    """Find the person, cut a smooth square crop, segment the body, compute optical flow."""

    videos: Text
    """Folder that the paths in the labels file start from."""

    labels: Text
    """CSV file with the columns video, patient_id and label."""

    store: Text = "store.zarr"
    """Clip store to write: a folder or any fsspec URL. An existing one is continued."""

    people: PersonFinderName = "motion"
    """How the person is found. motion: background model for a camera that stands still;
    detectron2, torchvision: Mask R-CNN; onnx: YOLOX from a file, which finds no masks."""

    people_weights: Annotated[str | None, Unset] = None
    """File with the person finder's weights, which onnx needs; when not given, the finder's own
    are downloaded."""

    people_config: Annotated[str | None, Unset] = None
    """Configuration of detectron2: a name in its model zoo, or a file. Not given:
    COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml."""

    segment: Annotated[SegmenterName | None, Unset] = None
    """How the body is told from its surroundings. Not given: by the person finder itself;
    background: what differs from an empty scene; grabcut: colours inside and outside the box;
    torchvision: LR-ASPP MobileNetV3 network."""

    segment_weights: Annotated[str | None, Unset] = None
    """File with the segmenter's weights; when not given, the segmenter's own are downloaded."""

    flow: FlowName = "dis"
    """Optical flow method. dis: OpenCV, fast on a CPU; raft_small, raft_large: networks."""

    flow_weights: Annotated[str | None, Unset] = None
    """File with RAFT weights; when not given, torchvision downloads its own."""

    fps: Annotated[Rate | None, Unset] = None
    """Frames per second to resample videos to. Not given: each video keeps its own usual rate."""

    size: Annotated[int, Field(ge=32, le=1024, multiple_of=2)] = 224
    """Side of the stored square frames, pixels."""

    margin: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Room around the body on each side of the crop, as a share of the body's height."""

    smoothing_seconds: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Width of the window over which the crop's path is smoothed, seconds."""

    workers: Annotated[PositiveInt | None, Unset] = None
    """Videos worked on at a time, each in a process of its own. Not given: one per core that this
    process may use (one if a GPU does the work); on a Ray cluster, as many as it has room for."""

    ray_address: Annotated[str | None, Unset] = None
    """Ray cluster to spread the videos over: host:port, or auto for the one that this machine
    belongs to. Not given: this machine alone."""

    overlays: bool = False
    """Also log a short film of every video's crops, masks and flow (about 0.5 MB each)."""

    @model_validator(mode="after")
    def _body_is_segmented(self) -> "PreprocessConfig":
        if self.segment is None and self.people in FINDERS_WITHOUT_MASKS:
            *others, last = get_args(SegmenterName)
            raise ValueError(
                f"people={self.people} finds no masks; choose segment={', '.join(others)} or {last}"
            )
        return self

    @property
    def recipe(self) -> dict[str, object]:
        """Every parameter that changes what is computed from one video."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _PLACES}


@dataclass(frozen=True, config=_SETTINGS)
class TrainConfig:
    """Cross-validate one two-stream model and track it in MLflow."""

    store: Annotated[str | None, Unset] = None
    """Clip store made by preprocess. Not given: simulate a cohort and train on it (a demo)."""

    backbone: BackboneName = "slow_50"
    """Network of each stream."""

    motion_backbone: Annotated[BackboneName | None, Unset] = None
    """Network of the motion stream, where it is to differ. Not given: backbone."""

    fusion: FusionName = "late_average"
    """How the appearance and the motion stream are joined."""

    clip_length: Annotated[int, Field(ge=4, le=256)] = 16
    """Frames per clip."""

    clip_stride: Annotated[PositiveInt | None, Unset] = None
    """Frames from the start of a clip to the next one's. Not given: clip_length (no overlap)."""

    size: Annotated[Side | None, Unset] = None
    """Side of the network's input, pixels. Not given: 112, the size of the published networks."""

    width: Annotated[Width | None, Unset] = None
    """Multiplier of every layer's channels. Not given: 1, the published network."""

    segmentation: bool = True
    """Blank everything outside the body mask, in both streams."""

    positive_class: Text = "ASD"
    """Label counted as positive by sensitivity, specificity, F1 and the ROC curve (two classes)."""

    group_by: Text = "patient_id"
    """Column of the labels that is never split between folds: patient_id, or e.g. a site."""

    folds: Annotated[int, Field(ge=2)] = 5
    """Outer folds; each patient is tested once."""

    inner_folds: Annotated[int, Field(ge=2)] = 4
    """One part in this many of the training patients chooses the epoch and the threshold."""

    epochs: Annotated[PositiveInt | None, Unset] = None
    """Most epochs to train a fold. Not given: 50."""

    patience: Annotated[PositiveInt | None, Unset] = None
    """Stop after this many epochs without a better validation loss. Not given: 10."""

    batch_size: Annotated[int, Field(ge=1)] = 8
    """Clips per training step."""

    learning_rate: Annotated[PositiveFloat | None, Unset] = None
    """Peak learning rate of AdamW. Not given: 0.0003."""

    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Weight decay of AdamW."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout before the last layer."""

    augment: bool = True
    """Flip, crop and brighten training clips at random, both streams alike."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the folds, the weights, the order of clips and the augmentation."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to train; auto takes a GPU when there is one."""

    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Arithmetic; auto is bf16-mixed on a GPU that has it, else 32-true."""

    loader_workers: Annotated[NonNegativeInt | None, Unset] = None
    """Processes that read clips beside the training. Not given: half the cores, at most 4."""

    run_name: Annotated[str | None, Unset] = None
    """Name of the run in MLflow. Not given: backbone, fusion and clip length."""


@dataclass(frozen=True, config=_SETTINGS)
class TrialConfig(TrainConfig):
    """A `TrainConfig` in which no number is left open but what follows from another one."""

    size: Side = 112
    width: Width = 1.0
    epochs: PositiveInt = 50
    patience: PositiveInt = 10
    learning_rate: PositiveFloat = 3e-4
    loader_workers: NonNegativeInt = min(4, (os.cpu_count() or 1) // 2)

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of `build_two_stream` but the number of classes."""
        names = (
            *("backbone", "motion_backbone", "fusion"),
            *("clip_length", "size", "width", "dropout"),
        )
        return {name: getattr(self, name) for name in names}

    @property
    def stride(self) -> int:
        """Frames from the start of a clip to the next one's."""
        return self.clip_stride or self.clip_length


def close_defaults(config: TrainConfig, **defaults: object) -> TrialConfig:
    """Close what a user left open: with these defaults first, then with those of `TrialConfig`."""
    given = {f.name: getattr(config, f.name) for f in fields(config)}
    return TrialConfig(**{**defaults, **{n: v for n, v in given.items() if v is not None}})
