"""Typed, frozen configuration of every command, with its defaults; the demo has its own."""

import os
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args, get_origin

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
from pydantic.fields import FieldInfo

BackboneName = Literal[
    "c3d",
    "c3d_gap",
    "r2plus1d_18",
    "r3d_18",
    "mc3_18",
    "r2plus1d_50",
    "slow_50",
    "slowfast_50",
    "x3d_s",
    "x3d_m",
    "i3d_50",
    "csn_101",
    "mvit_v2_s",
    "resnet2d_50",
    "cnn_lstm",
]
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
Device = Literal["auto", "cpu", "gpu"]
FinalName = Literal["ensemble", "refit"]
FreezeName = Literal["none", "stem", "backbone", "all_but_last_stage"]
PersonFinderName = Literal["motion", "detectron2", "torchvision", "onnx"]
SegmenterName = Literal["background", "grabcut", "torchvision"]
UnitName = Literal["patient", "video", "clip"]
FlowName = Literal["dis", "raft_small", "raft_large"]
RuleName = Literal["superior", "non_inferior"]

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
Width = Annotated[float, Field(ge=0.05, le=4)]
Rate = Annotated[float, Field(ge=1, le=240)]
Text = Annotated[str, BeforeValidator(_written_out)]


def as_text(value: object) -> str:
    """Write a value as MLproject and MLflow do: booleans in lower case, nothing for unset."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def listed(text: str) -> tuple[str, ...]:
    """Names that commas separate, each once."""
    names = (name.strip() for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def info_of(settings: type, name: str) -> FieldInfo:
    """What is known of a parameter: its type, its default, its description."""
    info: FieldInfo = settings.__pydantic_fields__[name]  # type: ignore[attr-defined]
    return info


def choices_of(annotation: object) -> tuple[str, ...]:
    """Values of a Literal, also of one that may be left open; nothing for other types."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(choice for part in get_args(annotation) for choice in choices_of(part))


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
DATASETS = ("kinetics400", "imagenet1k")
"""Data sets whose published weights a network can start from."""

FRESH = "none"
"""What `motion_pretrained` says for fresh weights, where an open one means `pretrained`."""

FINDERS_WITHOUT_MASKS: frozenset[PersonFinderName] = frozenset({"onnx"})
FINDERS_FROM_A_FILE: frozenset[PersonFinderName] = frozenset({"onnx"})


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
    """Also log a short film of every video's crops, masks and flow (about 0.5 MB each), and show
    the patients with their heads. Not given: what may hold a face is pixelated."""

    @model_validator(mode="after")
    def _body_is_segmented(self) -> "PreprocessConfig":
        if self.segment is None and self.people in FINDERS_WITHOUT_MASKS:
            *others, last = get_args(SegmenterName)
            rule = (
                f"people={self.people} finds no masks; choose segment={', '.join(others)} or {last}"
            )
            if self.people_weights is None and self.people in FINDERS_FROM_A_FILE:
                rule += f"; and give people_weights=FILE, which people={self.people} needs"
            raise ValueError(rule)
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
    """Side of the network's input, pixels. Not given: 112, for which C3D and the
    torchvision ResNets were made; others were made for more (docs/models.md)."""

    width: Annotated[Width | None, Unset] = None
    """Multiplier of every layer's channels. Not given: 1, the published network."""

    pretrained: Annotated[str | None, Unset] = None
    """Weights that the backbones start from. kinetics400, imagenet1k: the published ones of each
    backbone, from its library's hub; otherwise a file. Not given: fresh weights."""

    motion_pretrained: Annotated[str | None, Unset] = None
    """Weights that the motion stream's own network starts from, where they are to differ:
    kinetics400, imagenet1k or a file, as for pretrained; none: fresh weights. Not given: those of
    pretrained."""

    freeze: FreezeName = "none"
    """Part of the pretrained backbones that is not trained, batch norm included."""

    backbone_lr_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of the backbones, as a share of learning_rate; the fusion has all of it."""

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
    """Clips that the network sees at once."""

    find_batch_size: bool = False
    """Let the largest power of two that fits the GPU's memory take the place of batch_size."""

    accumulate: PositiveInt = 1
    """Batches whose gradients are added before the weights change: a step of batch_size x
    accumulate clips in the memory of batch_size."""

    gradient_checkpointing: bool = False
    """Keep only the maps between the stages of the backbones, and compute the others again for
    the gradient: less memory, more time, the same result."""

    learning_rate: Annotated[PositiveFloat | None, Unset] = None
    """Peak learning rate of AdamW. Not given: 0.0003."""

    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Weight decay of AdamW."""

    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which the learning rate rises to its peak, before it falls again."""

    gradient_clip: Annotated[PositiveFloat | None, Unset] = None
    """Longest gradient: a longer one is shortened to this 2-norm. Not given: as it is."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of every training label that is spread over all classes evenly."""

    balance: Literal["weights", "sampler", "none"] = "weights"
    """How classes, and the patients within a class, come to count the same in training.
    weights: in the loss; sampler: by drawing their clips equally often; none: not at all."""

    ema: Annotated[float | None, Field(gt=0, lt=1), Unset] = None
    """Decay per step of a moving average of the weights, which is then what is validated and kept.
    Not given: the weights themselves."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout before the last layer."""

    augment: bool = True
    """Flip, crop and brighten training clips at random, both streams alike."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the folds, the weights, the order of clips and the augmentation."""

    final: FinalName = "ensemble"
    """What the logged model answers with. ensemble: the mean over the networks of all folds;
    refit: one more network, trained on all patients for as many epochs as folds usually took."""

    device: Device = "auto"
    """Where to train; auto takes a GPU when there is one."""

    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Arithmetic; auto is bf16-mixed on a GPU that has it, else 32-true."""

    loader_workers: Annotated[NonNegativeInt | None, Unset] = None
    """Processes that read clips beside the training. Not given: half the cores, at most 4."""

    anonymise: Annotated[bool | None, Unset] = None
    """Log pseudonyms in the place of patient ids and video names. Not given: true; false for the
    simulated cohort, whose ids are nobody's."""

    pseudonym_key: Annotated[str | None, Unset] = None
    """File of the key that makes pseudonyms. Not given: your own, made when it is first used."""

    checkpoints: Text = "outputs/checkpoints"
    """Folder for what an unfinished trial needs to be resumed; emptied of it at the end."""

    resume: Annotated[str | None, Unset] = None
    """Id of the run of an unfinished trial to continue, with the same parameters."""

    run_name: Annotated[str | None, Unset] = None
    """Name of the run in MLflow. Not given: the backbones, fusion and clip length."""

    @model_validator(mode="after")
    def _pretrained_weights_fit(self) -> "TrainConfig":
        if self.freeze != "none" and not self.is_pretrained:
            raise ValueError(
                f"freeze={self.freeze} keeps weights as they are and needs pretrained ones: give "
                "pretrained, or choose freeze=none"
            )
        if self.is_pretrained and self.width not in (None, 1):
            raise ValueError(
                f"pretrained needs width=1 (weights have the published widths), got {self.width}"
            )
        others = self.motion_backbone not in (None, self.backbone)
        shared = self.pretrained is not None and self.motion_pretrained is None
        if others and shared and self.pretrained not in DATASETS:
            raise ValueError(
                "pretrained=FILE holds the weights of one kind of network; give motion_pretrained "
                "for the other one, or leave motion_backbone out"
            )
        return self

    @property
    def is_pretrained(self) -> bool:
        """Whether a network starts from other than fresh weights."""
        return self.pretrained is not None or self.motion_pretrained not in (None, FRESH)

    @model_validator(mode="after")
    def _batch_can_be_found(self) -> "TrainConfig":
        if self.find_batch_size and self.device == "cpu":
            raise ValueError(
                "find_batch_size=true needs a GPU, whose memory sets a limit: without one, the "
                "search would end with the machine out of memory; choose batch_size"
            )
        if self.find_batch_size and self.accumulate > 1:
            raise ValueError(
                "find_batch_size=true makes the step as large as the memory, and "
                f"accumulate={self.accumulate} larger than that; choose one of them"
            )
        return self


@dataclass(frozen=True, config=_SETTINGS)
class SweepConfig:
    """Search over configurations; each trial is a cross-validated model, tracked in MLflow."""

    space: Text = "search_spaces/quick.yaml"
    """Search space: a YAML file that says what is tried and by what it is judged."""

    store: Annotated[str | None, Unset] = None
    """Clip store made by preprocess. Not given: simulate a cohort and search on it (a demo)."""

    trials: Annotated[PositiveInt | None, Unset] = None
    """Trials of the sweep. Not given: as the search space says."""

    engine: Literal["ray", "optuna"] = "ray"
    """Who runs the trials. ray: Ray Tune, on this machine or a cluster; optuna: processes of this
    machine, which those of other machines may join."""

    workers: Annotated[PositiveInt | None, Unset] = None
    """Trials at a time. Not given: as many as Ray has room for; of engine=optuna one."""

    ray_address: Annotated[str | None, Unset] = None
    """Ray cluster that runs the trials: host:port, or auto for the one that this machine belongs
    to. Not given: this machine alone."""

    device: Device = "auto"
    """Where trials are trained; auto takes a GPU when there is one."""

    loader_workers: NonNegativeInt = 0
    """Processes that read clips beside each trial."""

    cpus_per_trial: PositiveFloat = 1.0
    """Cores that Ray gives to a trial."""

    gpus_per_trial: Annotated[float | None, Field(ge=0), Unset] = None
    """GPUs that Ray gives to a trial; 0.5 has two share one. Not given: one where there are any."""

    memory_per_trial: Annotated[PositiveFloat | None, Unset] = None
    """Memory that Ray keeps for a trial, GiB. Not given: none is counted."""

    anonymise: Annotated[bool | None, Unset] = None
    """Log pseudonyms in the place of patient ids and video names. Not given: true; false for the
    simulated cohort, whose ids are nobody's."""

    pseudonym_key: Annotated[str | None, Unset] = None
    """File of the key that makes pseudonyms. Not given: your own, made when it is first used."""

    storage: Annotated[str | None, Unset] = None
    """Database of the Optuna study, such as postgresql://HOST/NAME; not MLflow's. Not given: a
    file in the sweep's folder, which serves one machine."""

    folder: Text = "outputs/sweeps"
    """Folder for what unfinished sweeps and trials need; every machine that takes part needs it."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the simulated cohort, where no store is given."""

    resume: Annotated[str | None, Unset] = None
    """Id of the run of a sweep that broke off, to go on with it; or of one that is running, to
    help it from this machine."""

    run_name: Annotated[str | None, Unset] = None
    """Name of the run in MLflow. Not given: that of the search space."""

    @model_validator(mode="after")
    def _only_ray_has_a_cluster(self) -> "SweepConfig":
        if self.engine == "optuna" and self.ray_address:
            raise ValueError("ray_address: engine=optuna runs without Ray; leave one of them out")
        return self


@dataclass(frozen=True, config=_SETTINGS)
class EvaluateConfig:
    """Judge a finished trial again by its predictions: metrics, tables, figures and checklist."""

    run: Text
    """Id of the trial's run, of a training or in a sweep; what is computed is logged there."""

    pseudonym_key: Annotated[str | None, Unset] = None
    """File of the key that made the run's pseudonyms, for one that lacks the labels of its videos.
    Not given: your own."""


@dataclass(frozen=True, config=_SETTINGS)
class ScrubConfig:
    """Take out of a run, and of all runs below it, what was logged by mistake: pictures and ids."""

    run: Text
    """Id of the run of a training, a sweep, an explanation or a preprocessing."""

    yes: bool = False
    """Do it. Not given: list what would be done, and change nothing."""

    pseudonym_key: Annotated[str | None, Unset] = None
    """File of the key that makes the pseudonyms which take the place of ids. Not given: your own,
    made when it is first used."""


@dataclass(frozen=True, config=_SETTINGS)
class AblationConfig:
    """Compare finished trials: the ablation table, with uncertainty, as a page and for a paper."""

    sweep: Annotated[str | None, Unset] = None
    """Id of the run of a sweep, all of whose finished trials are compared."""

    runs: Annotated[str | None, Unset] = None
    """Ids of the runs of trials, separated by commas, in the place of a sweep."""

    experiment: Annotated[str | None, Unset] = None
    """Name of an experiment, all of whose finished trials are compared, in the place of a sweep."""

    filter: Annotated[str | None, Unset] = None
    """Which trials of the experiment, as MLflow filters runs: params.fusion = 'gated'."""

    unit: UnitName = "patient"
    """What counts as one case: patient, video or clip."""

    metrics: Text = "accuracy,f1,auroc"
    """Columns of the table, separated by commas."""

    rows: Annotated[str | None, Unset] = None
    """Parameters, separated by commas, whose levels are the rows: fusion,backbone. optical_flow is
    one, too: with the motion stream or without. Not given: one row per configuration."""

    reference: Annotated[str | None, Unset] = None
    """Row that the others are compared with: its name or the id of its run. Not given: the winner
    of the sweep, else the best by inner validation AUROC."""

    digits: Annotated[int, Field(ge=2, le=6)] = 3
    """Digits of the figures in the table; files of numbers hold all."""

    published: bool = False
    """Show the published figures beside, as a named reference."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the bootstrap."""

    run_name: Annotated[str | None, Unset] = None
    """Name of the run in MLflow. Not given: ablation and what is compared."""

    @model_validator(mode="after")
    def _one_source(self) -> "AblationConfig":
        given = [name for name in ("sweep", "runs", "experiment") if getattr(self, name)]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"give one of sweep=, runs= and experiment=, got {found}")
        if self.filter and not self.experiment:
            raise ValueError("filter: belongs to experiment=, which is not given")
        return self


REGISTERED_MODEL = "asd-two-stream"
"""Name under which sweeps register their best models."""


@dataclass(frozen=True, config=_SETTINGS)
class PromoteConfig:
    """Compare a registered version with the champion on the same test patients; promote it."""

    version: Annotated[str | None, Unset] = None
    """Version to compare: its number or an alias, such as candidate."""

    run: Annotated[str | None, Unset] = None
    """Id of the run of a finished trial, in the place of a version: its model is registered
    first."""

    name: Text = REGISTERED_MODEL
    """Registered model that it is a version of."""

    rule: Annotated[RuleName | None, Unset] = None
    """When the alias champion moves by itself. superior: the lower limit of the difference in test
    AUROC is above 0; non_inferior: above minus the margin. Not given: it stays."""

    margin: Annotated[float | None, Field(gt=0, lt=0.5), Unset] = None
    """Largest loss of AUROC that rule=non_inferior accepts."""

    yes: bool = False
    """Move the alias champion to the version, whatever the figures say."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the bootstrap."""

    run_name: Annotated[str | None, Unset] = None
    """Name of the run in MLflow. Not given: promote and the version."""

    @model_validator(mode="after")
    def _one_version(self) -> "PromoteConfig":
        if (self.version is None) == (self.run is None):
            found = "both" if self.version else "neither"
            raise ValueError(f"give version= or run=, one of them, got {found}")
        return self

    @model_validator(mode="after")
    def _one_way_to_move(self) -> "PromoteConfig":
        if self.yes and self.rule:
            raise ValueError("yes=true moves the alias whatever rule= says; leave one of them out")
        if self.rule == "non_inferior" and self.margin is None:
            raise ValueError(
                "rule=non_inferior needs margin=, the largest loss of AUROC that you accept, "
                "such as 0.05"
            )
        if self.margin is not None and self.rule != "non_inferior":
            raise ValueError("margin: belongs to rule=non_inferior, which is not given")
        return self


@dataclass(frozen=True, config=_SETTINGS)
class ExplainConfig:
    """Show which places of a clip a trial's networks look at, and whether that was learned."""

    run: Text
    """Id of the run of a finished trial."""

    store: Annotated[str | None, Unset] = None
    """Clip store that the trial was trained on, where it has moved. Not given: where it was."""

    patients: Annotated[str | None, Unset] = None
    """Patients to explain, separated by commas: ids, or the pseudonyms that the trial logged. Not
    given: the worst, see count."""

    count: Annotated[PositiveInt | None, Unset] = None
    """Patients to explain where none are named: first those that the trial was most confidently
    wrong about, then those that it was most confidently right about. Not given: 4."""

    clips: PositiveInt = 1
    """Clips to explain of each patient: those that spoke most for what was decided."""

    steps: Annotated[int, Field(ge=8)] = 50
    """Points of the integrated gradients on the way from a blank clip; more add up better."""

    sanity_clips: PositiveInt = 4
    """Clips whose maps are compared with those of random weights, seven networks for each."""

    batch_size: Annotated[int, Field(ge=1)] = 8
    """Clips that the network sees at once."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the random weights."""

    device: Device = "auto"
    """Where to compute; auto takes a GPU when there is one."""

    overlays: bool = False
    """Show the patients with their heads. Not given: what may hold a face is pixelated."""

    pseudonym_key: Annotated[str | None, Unset] = None
    """File of the key that made the trial's pseudonyms. Not given: your own."""

    run_name: Annotated[str | None, Unset] = None
    """Name of the run in MLflow. Not given: explain and the name of the trial."""

    @model_validator(mode="after")
    def _patients_are_named_or_counted(self) -> "ExplainConfig":
        if self.patients is not None and self.count is not None:
            raise ValueError("patients names whom to explain and count how many; choose one")
        if self.patients is not None and not self.patient_ids:
            raise ValueError(f"patients must name at least one, got {self.patients!r}")
        return self

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """The patients that were named, each once; none: the worst ones."""
        return listed(self.patients or "")


@dataclass(frozen=True, config=_SETTINGS)
class PredictConfig:
    """Classify videos with a logged model; with labels, validate it on patients it never saw."""

    model: Text
    """Address of a logged model, such as models:/asd-two-stream@champion, or the id of the run of
    a training."""

    videos: Text
    """Folder of the videos: every video file below it or, with labels, those that they name."""

    out: Text
    """File for the answers, a row per video; its ending, .parquet or .csv, says how it is written.
    With labels a second one of the same name and _patients has a row per patient."""

    labels: Annotated[str | None, Unset] = None
    """CSV file with the columns video, patient_id and label, of patients that the model was not
    trained on. What it says of them is then judged."""

    fold: Annotated[int, Field(ge=-1)] = -1
    """Fold whose network answers, counted from 0; -1: all of them together, or the refitted network
    if the model has one."""

    clip_stride: Annotated[PositiveInt | None, Unset] = None
    """Frames from the start of a clip to the next one's. Not given: as trained."""

    batch_size: Annotated[int, Field(ge=1)] = 8
    """Clips that a network sees at once."""

    device: Device = "auto"
    """Where the networks compute; auto takes a GPU when there is one."""

    workers: Annotated[PositiveInt | None, Unset] = None
    """Videos worked on at a time, each in a process of its own that holds the model. Not given: one
    per core that this process may use (one if a GPU does the work); on a Ray cluster, as many as it
    has room for."""

    ray_address: Annotated[str | None, Unset] = None
    """Ray cluster to spread the videos over: host:port, or auto for the one that this machine
    belongs to. Not given: this machine alone."""

    pseudonym_key: Annotated[str | None, Unset] = None
    """File of the key that made the pseudonyms of the model's trial, by which its patients are
    recognised among those of the labels. Not given: your own."""

    run_name: Annotated[str | None, Unset] = None
    """Name of the run in MLflow. Not given: predict, or external validation, and the model."""

    @model_validator(mode="after")
    def _known_ending(self) -> "PredictConfig":
        if not self.out.endswith((".parquet", ".csv")):
            raise ValueError(f"out must end in .parquet or .csv, got {self.out!r}")
        return self


@dataclass(frozen=True, config=_SETTINGS)
class TrialConfig(TrainConfig):
    """A `TrainConfig` in which no number is left open but what follows from another one."""

    size: Side = 112
    width: Width = 1.0
    epochs: PositiveInt = 50
    patience: PositiveInt = 10
    learning_rate: PositiveFloat = 3e-4
    anonymise: bool = True
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
    """Close what a user left open: with these defaults first, then with those of `TrialConfig`.

    Pretrained weights have the published widths, so no other default is taken with them.
    """
    if config.is_pretrained:
        defaults.pop("width", None)
    given = {f.name: getattr(config, f.name) for f in fields(config)}
    return TrialConfig(**{**defaults, **{n: v for n, v in given.items() if v is not None}})
