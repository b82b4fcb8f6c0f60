"""The labels of a trial's videos, as they are logged."""

import re
from dataclasses import fields

import pandas as pd

from asd_experiments.data.manifest import FIRST_ROW, REQUIRED_COLUMNS
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import VideoFacts
from asd_experiments.evaluation.subgroups import MOST_LEVELS
from asd_experiments.pseudonyms import Pseudonyms, in_column, is_pseudonym, naming_pattern

_INTERNAL = {"key", *(field.name for field in fields(VideoFacts))}
_MAY_BE_RARE = {"view", "disease"}  # of which a patient alone may have one
_BY_ROW = re.compile(r"(?:patient of )?row \d+")
_READER = "reader_"


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


def labels_by_row(labels: pd.DataFrame) -> pd.DataFrame:
    """Labels with every video called by its row and every patient by the first one's.

    Whoever has the labels file finds everybody in it, and nobody else does. Columns that tell
    patients apart are left out.
    """
    rows = [f"row {row}" for row in range(FIRST_ROW, FIRST_ROW + len(labels))]
    first: dict[str, str] = {}
    for patient, row in zip(labels["patient_id"], rows, strict=True):
        first.setdefault(patient, f"patient of {row}")
    telling = identifying_columns(labels, "patient_id")
    patients = labels["patient_id"].map(first)
    return labels.drop(columns=telling).assign(video=rows, patient_id=patients)


def is_nameless(name: str) -> bool:
    """Whether a name is a pseudonym, or one of `labels_by_row`."""
    return is_pseudonym(name) or _BY_ROW.fullmatch(name) is not None


def metadata_columns(labels: pd.DataFrame, group_by: str) -> list[str]:
    """Columns that say more of patients or videos than the class, and not who they are.

    The answers of readers are none. A number that is another for most patients is one: of it only
    a range or thirds are told.

    Args:
        labels: As of `hidden_labels`.
        group_by: Column that is never split between folds.
    """
    names, telling = _naming_patients(labels), identifying_columns(labels, group_by)
    return [
        name
        for name in map(str, labels.columns)
        if name not in REQUIRED_COLUMNS
        and not name.startswith(_READER)
        and (
            name not in telling or (_is_number(labels[name]) and not _is_named(names, labels[name]))
        )
    ]


def identifying_columns(labels: pd.DataFrame, group_by: str) -> list[str]:
    """Metadata columns that tell patients apart instead of grouping them.

    Those in which a patient is named; and but for view, disease and what readers said, texts of
    more than ten kinds, and columns in which most patients have a value that no other patient has.

    Args:
        labels: As of `hidden_labels`.
        group_by: Column that is never split between folds, which has pseudonyms instead.
    """
    names = _naming_patients(labels)
    return [
        name
        for name in map(str, labels.columns)
        if name not in {*REQUIRED_COLUMNS, group_by}
        and (
            _is_named(names, labels[name]) or _tells_apart(name, labels["patient_id"], labels[name])
        )
    ]


def _tells_apart(name: str, patients: pd.Series, values: pd.Series) -> bool:
    if name in _MAY_BE_RARE or name.startswith(_READER):
        return False
    is_free_text = not _is_number(values) and values.nunique() > MOST_LEVELS
    return is_free_text or _is_mostly_unique(patients, values)


def _naming_patients(labels: pd.DataFrame) -> re.Pattern[str] | None:
    return naming_pattern(labels["patient_id"].map(str).unique())


def _is_named(names: re.Pattern[str] | None, values: pd.Series) -> bool:
    """Whether a patient's id is among the values, or in one of them."""
    texts = (f"{value:g}" if isinstance(value, float) else str(value) for value in values.unique())
    return names is not None and any(map(names.search, texts))


def _is_mostly_unique(patients: pd.Series, values: pd.Series) -> bool:
    pairs = pd.DataFrame({"patient": patients, "value": values.map(str)})[values.notna()]
    pairs = pairs[pairs["value"] != ""].drop_duplicates()
    alone = ~pairs.duplicated("value", keep=False)
    return bool(pairs.loc[alone, "patient"].nunique() > patients.nunique() / 2)


def _is_number(values: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values))
