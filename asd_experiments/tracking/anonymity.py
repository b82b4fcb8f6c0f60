"""Which runs name patients and videos by pseudonyms, of which key; see `pseudonyms`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
from mlflow.entities import Run

from asd_experiments.data.manifest import REQUIRED_COLUMNS
from asd_experiments.data.store import ClipStore
from asd_experiments.errors import InputError
from asd_experiments.pseudonyms import (
    PARAMETER,
    Pseudonyms,
    default_key_file,
    keep_translation,
    own_key,
    read_key,
)
from asd_experiments.tracking.finished_trial import FinishedTrial, group_by_of
from asd_experiments.tracking.labels import identifying_columns, labels_of

ANONYMISED = "asd.anonymised"
"""Tag of a run that has pseudonyms: the fingerprint of their key. Without it the run has ids."""

_KEYS = ("fold", "split", "patient_id", "video", "clip_start")


def begin_pseudonyms(store: ClipStore, *, key_file: str | None, group_by: str) -> Pseudonyms:
    """Pseudonyms for a run that begins; who is who is kept on the user's side, and told where.

    Args:
        store: The run's clip store.
        key_file: File of the key. None: the user's own, made when it is first used.
        group_by: Column of the labels that is never split between folds.

    Raises:
        InputError: If there is no key and none can be made.
    """
    pseudonyms = pseudonyms_of(store, own_key(key_file), group_by)
    labels = labels_of(store)
    told = keep_translation(pseudonyms.translation(), pseudonyms.fingerprint, key_file)
    print(f"Patients and videos are logged under pseudonyms. {told}")
    if telling := identifying_columns(labels, group_by):
        print(f"Not logged, as they tell patients apart: columns {', '.join(telling)}")
    return pseudonyms


def pseudonyms_of(store: ClipStore, key: bytes, group_by: str) -> Pseudonyms:
    """Pseudonyms of all that a store names, the videos that failed among them.

    Args:
        store: The clip store.
        key: Of the pseudonyms.
        group_by: Column of the labels that is never split between folds.
    """
    failed = [(f.get("patient_id"), f.get("video")) for f in store.failures]
    patients = [*store.videos["patient_id"], *(p for p, _ in failed if p is not None)]
    videos = [*store.videos["video"], *(v for _, v in failed if v is not None)]
    is_own = group_by in {*store.videos} - {*REQUIRED_COLUMNS}
    groups = store.videos[group_by].dropna() if is_own else ()
    return Pseudonyms(key, patients, videos, groups)


def pseudonyms_of_run(run: Run, store: ClipStore, key_file: str | None) -> Pseudonyms | None:
    """The pseudonyms that a run has; None for one that has ids.

    Args:
        run: The run.
        store: Its clip store.
        key_file: File of the key that made them. None: the user's own.

    Raises:
        InputError: If the key cannot be read, or is another one.
    """
    if ANONYMISED not in run.data.tags:
        return None
    key = same_key(key_file, run.data.tags[ANONYMISED], f"the run {run.info.run_id}")
    return pseudonyms_of(store, key, group_by_of(run))


def same_key(key_file: str | None, fingerprint: str, whose: str) -> bytes:
    """The key that has been used before.

    Args:
        key_file: Its file. None: the user's own.
        fingerprint: Of the key that was used.
        whose: What it was used for, for an error.

    Raises:
        InputError: If the key cannot be read, or is another one.
    """
    key = read_key(key_file)
    if (here := Pseudonyms(key).fingerprint) != fingerprint:
        raise InputError(
            f"{PARAMETER}: {whose} has pseudonyms of the key {fingerprint}, but "
            f"{str(key_file or default_key_file())!r} holds the key {here}; give the file of that "
            "key, or a copy of it"
        )
    return key


def check_same_names(trials: Iterable[FinishedTrial]) -> None:
    """Refuse trials that call the same patients by different names: they cannot be paired.

    Raises:
        InputError: If some have ids and others pseudonyms, or pseudonyms of different keys.
    """
    by_key: dict[str, list[str]] = {}
    for trial in trials:
        by_key.setdefault(trial.run.data.tags.get(ANONYMISED, ""), []).append(trial.run_id)
    if len(by_key) > 1:
        kinds = "; ".join(
            f"{f'pseudonyms of the key {key}' if key else 'ids'}: {ids[0]}"
            + (f" and {len(ids) - 1} more" if len(ids) > 1 else "")
            for key, ids in by_key.items()
        )
        remedy = "choose trials of one kind"
        if "" in by_key:
            remedy += ", or give those with ids pseudonyms of the same key: scrub run=ID yes=true"
        raise InputError(
            "the trials name patients differently, so they cannot be compared patient by patient "
            f"({kinds}); {remedy}"
        )


def hidden(table: pd.DataFrame, pseudonyms: Pseudonyms | None) -> pd.DataFrame:
    """A table as it is logged: with pseudonyms, where there are any, in their order.

    The order of the ids would tell who is who without a key.
    """
    return table if pseudonyms is None else in_order_of_names(pseudonyms.table(table))


def in_order_of_names(table: pd.DataFrame) -> pd.DataFrame:
    """Predictions, folds or labels sorted by what names their rows."""
    keys = [key for key in _KEYS if key in table.columns]
    return table.sort_values(keys, ignore_index=True)


def hidden_record(record: Mapping[str, Any], pseudonyms: Pseudonyms) -> dict[str, Any]:
    """What is known of a video that could not be stored, as it is logged."""
    texts = {name: pseudonyms.text(str(record[name])) for name in ("reason",) if name in record}
    names = {
        name: of(str(record[name]))
        for name, of in (("patient_id", pseudonyms.patient), ("video", pseudonyms.video))
        if record.get(name) is not None
    }
    return {**record, **texts, **names}


def told_by(pseudonyms: Pseudonyms | None) -> Callable[[str], str] | None:
    """What turns an error into one that may be logged; None: nothing has to."""
    return None if pseudonyms is None else pseudonyms.text
