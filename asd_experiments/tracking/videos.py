"""What is known of a trial's videos, logged with it so that nothing but its run is needed later."""

from mlflow.artifacts import load_dict

from asd_experiments.data.storage import StoreError
from asd_experiments.data.store import ClipStore
from asd_experiments.errors import InputError
from asd_experiments.pseudonyms import Pseudonyms
from asd_experiments.tracking.anonymity import in_order_of_names, pseudonyms_of_run
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.finished_trial import STORE, VIDEOS, FinishedTrial
from asd_experiments.tracking.labels import hidden_labels, labels_of


def log_videos(run_id: str, store: ClipStore, pseudonyms: Pseudonyms | None, group_by: str) -> None:
    """Log the labels of the videos that are in the store.

    Args:
        run_id: The run.
        store: Its clip store.
        pseudonyms: What to call them; columns that tell patients apart are then left out. None: by
            their ids, with every column.
        group_by: Column that is never split between folds.
    """
    labels = labels_of(store)
    if pseudonyms is not None:
        labels = in_order_of_names(hidden_labels(labels, pseudonyms, group_by))
    log_table(run_id, labels, VIDEOS)


def add_videos(trial: FinishedTrial, key_file: str | None) -> str:
    """Log the videos of an older run, which did not, from its store.

    Args:
        trial: The trial.
        key_file: File of the key, where the run has pseudonyms. None: the user's own.

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
    try:
        pseudonyms = pseudonyms_of_run(trial.run, store, key_file)
    except InputError as error:
        return f"the run has no {VIDEOS}, and they cannot be given pseudonyms: {error}"
    log_videos(trial.run_id, store, pseudonyms, trial.group_by)
    return ""


def excluded_videos(run_id: str) -> list[dict[str, str]]:
    """Videos that could not be stored, with the reason, as the run of a trial tells them."""
    origin = load_dict(f"runs:/{run_id}/{STORE}")
    failures: list[dict[str, str]] = origin.get("failures", [])
    return failures
