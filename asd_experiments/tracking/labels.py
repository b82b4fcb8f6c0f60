"""The labels of a trial's videos, as they are logged."""

from dataclasses import fields

import pandas as pd

from asd_experiments.data.manifest import REQUIRED_COLUMNS
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import VideoFacts
from asd_experiments.pseudonyms import Pseudonyms, in_column

_INTERNAL = {"key", *(field.name for field in fields(VideoFacts))}
_ALWAYS_LOGGED = {*REQUIRED_COLUMNS, "view", "disease"}
_MOST_TEXTS = 10  # as many as make subgroups; more tell cases apart


def labels_of(store: ClipStore) -> pd.DataFrame:
    """The labels file as it was when the store was made, without the videos that failed."""
    videos = store.videos
    return videos[[column for column in videos.columns if column not in _INTERNAL]]


def hidden_labels(labels: pd.DataFrame, pseudonyms: Pseudonyms, group_by: str) -> pd.DataFrame:
    """Labels as they are logged: with pseudonyms, and without columns that tell patients apart.

    Args:
        labels: One row per video: video, patient_id, label and metadata.
        pseudonyms: What to call them.
        group_by: Column that is never split between folds; it has pseudonyms too.
    """
    table = pseudonyms.table(labels.drop(columns=identifying_columns(labels, group_by)))
    if group_by in table.columns and group_by not in REQUIRED_COLUMNS:
        table[group_by] = in_column(table[group_by], pseudonyms.group)
    return table


def identifying_columns(labels: pd.DataFrame, group_by: str) -> list[str]:
    """Metadata columns that tell patients apart instead of grouping them.

    Those in which most patients have a value that no other patient has, and texts of more than ten
    kinds. View, disease and what readers said is always logged.

    Args:
        labels: As of `hidden_labels`.
        group_by: Column that is never split between folds, which has pseudonyms instead.
    """
    return [
        name
        for name in map(str, labels.columns)
        if name not in {*_ALWAYS_LOGGED, group_by}
        and not name.startswith("reader_")
        and _identifies(labels["patient_id"], labels[name])
    ]


def _identifies(patients: pd.Series, values: pd.Series) -> bool:
    pairs = pd.DataFrame({"patient": patients, "value": values.map(str)})[values.notna()]
    pairs = pairs[pairs["value"] != ""].drop_duplicates()
    alone = ~pairs.duplicated("value", keep=False)
    most = pairs.loc[alone, "patient"].nunique() > patients.nunique() / 2
    is_text = not pd.api.types.is_numeric_dtype(values)
    return bool(most or (is_text and pairs["value"].nunique() > _MOST_TEXTS))
