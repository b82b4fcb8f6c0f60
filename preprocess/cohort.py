"""Labelled videos to a clip store."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.manifest import FIRST_ROW, file_sha256, read_labels
from asd_experiments.data.store import StoreWriter, video_key
from asd_experiments.progress import progress_bar
from preprocess.pipeline import Preprocessor, load_weights


@dataclass(frozen=True)
class Outcome:
    """What became of a cohort's videos."""

    labels: pd.DataFrame
    """Rows of the labels file whose videos are in the store, with their `key`."""

    failures: list[dict[str, str]]
    """Video, reason, row (line of the labels file) and label of those that could not be stored."""

    num_new: int
    """Videos stored just now; the others were there already."""


def preprocess(config: PreprocessConfig) -> Outcome:
    """Preprocess every labelled video into a clip store; what is there already is skipped.

    One video's failure never costs the others: the store is finished without it.

    Raises:
        LabelsError: If anything is wrong with the labels or their videos; before any work.
        MethodError: If a method's library or weights cannot be had; before any work.
        StoreError: If the store exists and was made in another way.
    """
    labels = read_labels(Path(config.labels), Path(config.videos))
    preprocessor = Preprocessor(config.recipe, load_weights(config))
    writer = StoreWriter(
        config.store, preprocessor.recipe, preprocessor.backends, preprocessor.weights
    )
    outcome = _store_all(labels, Path(config.videos), preprocessor, writer)
    if not outcome.labels.empty:
        writer.finish(outcome.labels, outcome.failures)
    return outcome


def _store_all(
    labels: pd.DataFrame, videos: Path, preprocessor: Preprocessor, writer: StoreWriter
) -> Outcome:
    """Store what is not in the store."""
    rows, keys = [], []
    failures: list[dict[str, str]] = []
    num_new = 0
    names = labels["video"].items()
    progress = progress_bar(names, total=len(labels), title="preprocess", unit="video")
    for row, name in progress:
        key = video_key(file_sha256(videos / name))
        if writer.facts(key) is None:
            if reason := preprocessor.failure(videos / name, writer):
                progress.write(f"{name}: {reason}")
                facts = {"row": str(row + FIRST_ROW), "label": str(labels.loc[row, "label"])}
                failures.append({"video": name, "reason": reason, **facts})
                continue
            num_new += 1
        rows.append(row)
        keys.append(key)
    return Outcome(labels.loc[rows].assign(key=keys), failures, num_new)
