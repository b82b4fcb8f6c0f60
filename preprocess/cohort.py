"""Labelled videos to a clip store."""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.manifest import FIRST_ROW, read_labels, unreadable_videos
from asd_experiments.data.store_writer import StoreWriter
from asd_experiments.progress import progress_bar
from preprocess.pipeline import Preprocessor, load_weights
from preprocess.worker import Plan, Result, Worker
from preprocess.workers import in_processes, num_workers


@dataclass(frozen=True)
class Outcome:
    """What became of a cohort's videos."""

    labels: pd.DataFrame
    """Rows of the labels file whose videos are in the store, with their `key`."""

    failures: list[dict[str, str]]
    """Video, reason, row (line of the labels file), label and patient_id of those that could not
    be stored."""

    num_new: int
    """Videos stored just now; the others were there already."""


def preprocess(config: PreprocessConfig) -> Outcome:
    """Preprocess every labelled video into a clip store; what is there already is skipped.

    One video's failure never costs the others: the store is finished without it. How many
    processes or nodes do the work changes nothing but the time it takes.

    Raises:
        LabelsError: If anything is wrong with the labels; before any work.
        MethodError: If a method's library or weights cannot be had; before any work.
        StoreError: If the store exists and was made in another way.
        ClusterError: If the cluster, or a node of it, cannot do the work; before any work.
        WorkersError: If worker processes cannot be used.
        VideosGoneError: If the videos folder is lost during the work.
    """
    labels = read_labels(Path(config.labels), Path(config.videos))
    preprocessor = Preprocessor(config.recipe, load_weights(config))
    writer = StoreWriter(
        config.store, preprocessor.recipe, preprocessor.backends, preprocessor.weights
    )
    unreadable = unreadable_videos(labels, Path(config.videos))
    for row, reason in unreadable.items():
        print(f"row {row} cannot be read and is left out: {reason}")
    with closing(_results(config, list(labels["video"]), preprocessor, writer)) as results:
        outcome = _gathered(results, labels, already_named=unreadable.keys())
    if not outcome.labels.empty:
        labels = outcome.labels.astype(object)
        writer.finish(labels.where(labels.notna(), None).to_dict("records"), outcome.failures)
    return outcome


def _results(
    config: PreprocessConfig, names: Sequence[str], preprocessor: Preprocessor, writer: StoreWriter
) -> Generator[Result]:
    """Have every video stored, here or elsewhere; results come as they finish."""
    videos = Path(config.videos)
    plan = Plan(
        videos,
        config.store,
        preprocessor.recipe,
        preprocessor.weights,
        preprocessor.libraries,
        preprocessor.device,
    )
    processes = num_workers(config.workers, len(names), device=preprocessor.device)
    if config.ray_address is not None:
        from preprocess.cluster import on_cluster

        yield from on_cluster(
            plan, names, address=config.ray_address, most_at_a_time=config.workers
        )
    elif processes > 1:
        yield from in_processes(plan, names, processes=processes, lost=Result.lost)
    else:
        yield from map(Worker(videos, preprocessor, writer), names)


def _gathered(
    results: Iterator[Result], labels: pd.DataFrame, *, already_named: Collection[int]
) -> Outcome:
    """Outcome in the order of the labels, whatever order the results come in.

    A failure is shown as it comes, by its row: the name of a file may be that of a patient.
    """
    row_of = dict(zip(labels["video"], labels.index + FIRST_ROW, strict=True))
    found: dict[str, Result] = {}
    progress = progress_bar(results, total=len(labels), title="preprocess", unit="video")
    for result in progress:
        found[result.video] = result
        row = row_of[result.video]
        if result.reason and row not in already_named:
            progress.write(f"row {row} is left out: {result.reason}")
    in_order = [found[name] for name in labels["video"]]
    failures = [
        {
            "video": r.video,
            "reason": r.reason,
            "row": str(row_of[r.video]),
            "label": label,
            "patient_id": patient,
        }
        for r, label, patient in zip(in_order, labels["label"], labels["patient_id"], strict=True)
        if r.reason
    ]
    stored = [result.key is not None for result in in_order]
    return Outcome(
        labels[stored].assign(key=[r.key for r in in_order if r.key is not None]),
        failures,
        sum(result.is_new for result in in_order),
    )
