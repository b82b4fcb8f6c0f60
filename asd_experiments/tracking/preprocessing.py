"""The command `preprocess`: a clip store, and what people need to judge it, in MLflow."""

import tempfile
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.manifest import FIRST_ROW
from asd_experiments.data.store import ClipStore
from asd_experiments.errors import InputError
from asd_experiments.interruption import Interrupted
from asd_experiments.progress import progress_bar
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.dataset import log_dataset, store_origin
from asd_experiments.tracking.finished_trial import STORE
from asd_experiments.tracking.runs import (
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

_REPORT = "report.html"
_MOST_NAMED = 10
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
        SystemExit: At the end, if a video failed, with what to do; at once, if somebody stops it.
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
        raise SystemExit(f"preprocess: {_what_next(outcome)}")
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
        log_dataset(run_id, store, "preprocessing")
        MlflowClient().log_dict(run_id, store_origin(store), STORE)
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
        path = Path(folder) / _REPORT
        write_report(
            path,
            store=store,
            videos=videos,
            exclusions=exclusions,
            recipe=config.recipe,
            made_at=made_at,
            faces=config.overlays,
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
        f"{flagged} of them have flags. Pictures and reasons: `{_REPORT}` among the artifacts."
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
    lines = where_to_see(run_id)
    report = _report_file(run_id)
    if report is None:
        lines.append(f"          {_REPORT} is among its artifacts")
    else:
        lines.insert(0, f"Report:   {report}")
    print("\n".join(lines))


def _report_file(run_id: str) -> Path | None:
    """The report as a file; None where artifacts are not kept on this machine."""
    uri = MlflowClient().get_run(run_id).info.artifact_uri or ""
    place = urlsplit(uri)
    if place.scheme not in ("", "file"):
        return None
    path = Path(url2pathname(place.path) if place.scheme else uri) / _REPORT
    return path if path.is_file() else None


def _what_next(outcome: Outcome) -> str:
    """Why the exit status is 1 although there is a store, and how to end with 0."""
    rows = [failure["row"] for failure in outcome.failures]
    named = ", ".join(rows[:_MOST_NAMED])
    if len(rows) > _MOST_NAMED:
        named += f" and {len(rows) - _MOST_NAMED} more"
    return (
        f"{len(rows)} of {len(rows) + len(outcome.labels)} videos could not be stored "
        f"(row{'s' if len(rows) > 1 else ''} {named}); the report says why.\n"
        f"The store is complete without {'them' if len(rows) > 1 else 'it'} and can be trained on. "
        "To try again, mend the files, or make room where memory was short, and run the same "
        "command:\n"
        "what is stored is not done again. To do without, take the rows out of the labels file "
        "and run it again; the exit status is 0 then."
    )
