"""The command `preprocess`: a clip store, and what people need to judge it, in MLflow."""

import tempfile
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.manifest import FIRST_ROW
from asd_experiments.data.store import ClipStore
from asd_experiments.errors import InputError
from asd_experiments.progress import progress_bar
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.dataset import dataset_input, store_origin
from asd_experiments.tracking.runs import (
    Interrupted,
    command_run,
    log_metrics,
    log_parameters,
    use_tracking_store,
    where_to_see,
)
from preprocess.cohort import Outcome, preprocess
from preprocess.flags import JudgedVideo, flag_counts, judge, quality_table
from preprocess.overlay import write_overlay
from preprocess.quality import quality_figures
from preprocess.report import Exclusion, write_report

_NAMING = {"videos", "labels"}  # places whose names may be those of patients
_FILES = ("store", "people_weights", "people_config", "segment_weights", "flow_weights")


class NothingStoredError(InputError):
    """Not a single video could be stored."""


def run_preprocess(config: PreprocessConfig) -> str:
    """Preprocess every labelled video and track it: figures, report, and films on request.

    Returns:
        Id of the run.

    Raises:
        InputError: If labels, methods or store cannot be used, or no video could be stored.
        SystemExit: At the end, if a video failed; at once, if somebody stops it.
    """
    use_tracking_store()
    default_name = f"preprocess {config.people} {config.flow} {config.size} px"
    try:
        with command_run(None, default_name, discreet=True) as run_id:
            _log_start(run_id, config)
            started, made_at = time.monotonic(), datetime.now()
            outcome = preprocess(config)
            _log_outcome(run_id, config, outcome, time.monotonic() - started)
            _log_quality(run_id, config, outcome, made_at)
            _print_summary(run_id, config, outcome)
            if outcome.labels.empty:
                raise NothingStoredError("no video could be stored; the report says why, by row")
    except Interrupted as error:
        raise SystemExit(
            f"preprocess: {error}; its run in MLflow is closed as KILLED. "
            "What is stored stays: run it again to go on"
        ) from error
    if outcome.failures:
        raise SystemExit(1)
    return run_id


def _log_start(run_id: str, config: PreprocessConfig) -> None:
    MlflowClient().set_tag(run_id, "asd.level", "preprocess")
    typed = MlflowClient().get_run(run_id).data.params  # by the user of `mlflow run`
    parameters = {
        name: _without_folders(name, value) if name in _FILES else value
        for name, value in asdict(config).items()
        if name not in _NAMING and not (name in _FILES and name in typed)
    }
    log_parameters(run_id, parameters)


def _without_folders(name: str, value: str | None) -> str | None:
    """Name of a file or store: the folders above may be named after people, and change."""
    if value is None:
        return None
    path = Path(value)
    is_in_zoo = name == "people_config" and not path.is_absolute() and not path.is_file()
    return value if is_in_zoo else path.name


def _log_outcome(run_id: str, config: PreprocessConfig, outcome: Outcome, seconds: float) -> None:
    """Log how many videos were stored, and where."""
    num_stored, num_failed = len(outcome.labels), len(outcome.failures)
    metrics: dict[str, float] = {
        "num_videos": num_stored + num_failed,
        "num_stored": num_stored,
        "num_failed": num_failed,
        "num_new": outcome.num_new,
        "seconds": seconds,
    }
    if outcome.num_new:
        metrics["videos_per_second"] = outcome.num_new / seconds
    if num_stored:
        metrics["num_patients"] = outcome.labels["patient_id"].nunique()
        store = ClipStore(config.store)
        MlflowClient().log_inputs(run_id, [dataset_input(store, "preprocessing")])
        MlflowClient().log_dict(run_id, store_origin(store), "store.json")
    log_metrics(run_id, {name: float(value) for name, value in metrics.items()})


def _log_quality(
    run_id: str, config: PreprocessConfig, outcome: Outcome, made_at: datetime
) -> None:
    """Measure what is in the store and log figures, flags, report and films."""
    store = ClipStore(config.store) if not outcome.labels.empty else None
    videos = _judge(store, outcome) if store else []
    if videos:
        table = quality_table(videos)
        log_table(run_id, table, "quality.parquet")
        log_metrics(run_id, _quality_metrics(videos))
    exclusions = [
        Exclusion(int(failure["row"]), failure["label"], failure["reason"])
        for failure in outcome.failures
    ]
    MlflowClient().set_tag(run_id, MLFLOW_RUN_NOTE, _note(videos, exclusions))
    with tempfile.TemporaryDirectory(prefix="report_") as folder:
        path = Path(folder) / "report.html"
        write_report(
            path,
            store=store,
            videos=videos,
            exclusions=exclusions,
            recipe=config.recipe,
            made_at=made_at,
        )
        MlflowClient().log_artifact(run_id, str(path))
    if store and config.overlays:
        _log_overlays(run_id, store, videos)


def _judge(store: ClipStore, outcome: Outcome) -> list[JudgedVideo]:
    rows = [int(index) + FIRST_ROW for index in outcome.labels.index]
    figures = progress_bar(
        quality_figures(store, rows), total=len(rows), title="quality", unit="video"
    )
    return judge(list(figures), size=store.size, margin=store.recipe["margin"])


def _quality_metrics(videos: list[JudgedVideo]) -> dict[str, float]:
    """Medians of the figures, and how many videos each flag has."""
    table = quality_table(videos)
    names = ("person_share", "bridged_share", "enlargement", "crop_jitter", "mask_share")
    medians = {f"median_{name}": float(table[name].median()) for name in names}
    counts = {f"flags/{name}": float(count) for name, _, _, count in flag_counts(videos)}
    return {**medians, **counts, "num_flagged": float((table["severity"] > 0).sum())}


def _log_overlays(run_id: str, store: ClipStore, videos: list[JudgedVideo]) -> None:
    """Log one film per video, worst first; only one at a time lies on the disk."""
    index = {facts["key"]: facts for facts in store.videos.to_dict("records")}
    for video in progress_bar(videos, title="overlays", unit="video"):
        figures = video.figures
        with tempfile.TemporaryDirectory(prefix="overlay_") as folder:
            path = Path(folder) / f"row_{figures.row:04d}_{figures.key[:8]}.mp4"
            write_overlay(store, index[figures.key], path)
            MlflowClient().log_artifact(run_id, str(path), "overlays")


def _note(videos: list[JudgedVideo], exclusions: list[Exclusion]) -> str:
    """What a reader of the run's page must know, in Markdown."""
    flagged = sum(bool(video.flags) for video in videos)
    lines = [
        f"{len(videos)} of {len(videos) + len(exclusions)} videos are stored, "
        f"{flagged} of them have flags. Pictures and reasons: `report.html` among the artifacts."
    ]
    if counts := flag_counts(videos):
        lines += ["", "| flag | severity | videos |", "|---|---|---|"]
        lines += [f"| {title} | {severity} | {count} |" for _, title, severity, count in counts]
    return "\n".join(lines)


def _print_summary(run_id: str, config: PreprocessConfig, outcome: Outcome) -> None:
    """Say what came out and how to see it."""
    num_stored = len(outcome.labels)
    print(
        f"{num_stored} of {num_stored + len(outcome.failures)} videos are in {config.store}: "
        f"{outcome.num_new} new, {num_stored - outcome.num_new} there already, "
        f"{len(outcome.failures)} failed."
    )
    print("\n".join([*where_to_see(run_id), "          report.html is among its artifacts"]))
