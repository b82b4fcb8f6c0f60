"""What is known of a trial's videos, logged with it so that nothing but its run is needed later."""

from dataclasses import fields

import pandas as pd
from mlflow.artifacts import load_dict

from asd_experiments.data.storage import StoreError
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import VideoFacts
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.finished_trial import VIDEOS, FinishedTrial

_INTERNAL = {"key", *(field.name for field in fields(VideoFacts))}


def log_videos(run_id: str, store: ClipStore) -> None:
    """Log every column of the labels, for the videos that are in the store."""
    log_table(run_id, labels_of(store), VIDEOS)


def labels_of(store: ClipStore) -> pd.DataFrame:
    """The labels file as it was when the store was made, without the videos that failed."""
    videos = store.videos
    return videos[[column for column in videos.columns if column not in _INTERNAL]]


def add_videos(trial: FinishedTrial) -> str:
    """Log the videos of an older run, which did not, from its store.

    Returns:
        Why that cannot be done; empty if they are in the run.
    """
    if trial.videos is not None:
        return ""
    url = trial.parameters.get("store", "")
    try:
        store = ClipStore(url)
    except StoreError as error:
        return f"the run has no {VIDEOS}, and its store cannot be read: {error}"
    if store.digest != trial.data_digest:
        return f"the run has no {VIDEOS}, and its store {url!r} has changed since"
    log_videos(trial.run_id, store)
    return ""


def excluded_videos(run_id: str) -> list[dict[str, str]]:
    """Videos that could not be stored, with the reason, as the run of a trial tells them."""
    origin = load_dict(f"runs:/{run_id}/store.json")
    failures: list[dict[str, str]] = origin.get("failures", [])
    return failures
