"""The prediction table: one row per clip, from which every metric and figure is computed.

Columns:
    fold: Outer fold, an integer.
    split: `val` (inner validation) or `test` (outer test).
    group: What was never split between folds: the patient, or e.g. a person or a site.
    patient_id, video: Whom and what the clip shows.
    clip_start, clip_start_seconds: First frame of the clip, as an index and in seconds.
    label: True class, the same in all clips of a patient.
    probability_<class>: Fused probability of each class; they sum to 1 in every row.
    appearance_<class>, motion_<class>: The same of one stream alone, where that stream exists.

A patient is tested in one fold only, but may be in the inner validation part of several: a unit
is therefore one clip, video or patient *within one fold and split*.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from asd_experiments.errors import unknown_choice

Split = Literal["val", "test"]
Unit = Literal["clip", "video", "patient"]

SPLITS: tuple[Split, ...] = get_args(Split)
UNITS: tuple[Unit, ...] = get_args(Unit)
PLAIN_COLUMNS = (
    "fold",
    "split",
    "group",
    "patient_id",
    "video",
    "clip_start",
    "clip_start_seconds",
    "label",
)
SCORE_PREFIXES = ("probability_", "appearance_", "motion_")

LOWEST_PROBABILITY = 1e-7
"""Probabilities are cut off here before their logarithm is taken: 0 has none."""

SUM_TOLERANCE = 1e-3
"""How far probabilities may be from summing to 1: a softmax rounded to 16 bits is this far."""

_UNIT_KEYS: dict[Unit, list[str]] = {
    "patient": ["patient_id"],
    "video": ["patient_id", "video"],
    "clip": ["patient_id", "video", "clip_start", "clip_start_seconds"],
}


def check_predictions(table: pd.DataFrame, classes: list[str]) -> None:
    """Refuse a table from which metrics would be wrong.

    Args:
        table: Prediction table, one row per clip.
        classes: All classes in their fixed order.

    Raises:
        ValueError: If the table is malformed; it lists every problem found.
    """
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise ValueError(f"classes must be at least two different names, got {classes}")
    columns = [*PLAIN_COLUMNS, *probability_columns(classes)]
    if missing := [column for column in columns if column not in table.columns]:
        raise ValueError(f"the prediction table lacks the columns {', '.join(missing)}")
    if table.empty:
        raise ValueError("the prediction table must have at least one row, got none")
    if problems := [*_cell_problems(table, classes), *_split_problems(table)]:
        raise ValueError("the prediction table is wrong:\n" + "\n".join(f"  {p}" for p in problems))


def aggregate(table: pd.DataFrame, unit: Unit) -> pd.DataFrame:
    """Average the clips of every unit within its fold and split.

    A video's probability is the mean over its clips, a patient's the mean over all clips of the
    patient: a longer video weighs more, as every second of walking counts the same.

    Args:
        table: Prediction table, one row per clip.
        unit: What one row of the result stands for.

    Returns:
        One row per unit, sorted by fold, split, patient, video and time: fold, split, group,
        label, the columns that name the unit, `num_clips`, and the mean of every score column.
    """
    keys = ["fold", "split", *_UNIT_KEYS[unit], "group", "label"]
    scores = [name for name in table.columns if str(name).startswith(SCORE_PREFIXES)]
    units = table.groupby(keys, sort=True, dropna=False, observed=True)
    means = units[scores].mean()
    means.insert(0, "num_clips", units.size())
    return means.reset_index()


def select_units(table: pd.DataFrame, split: Split, unit: Unit) -> pd.DataFrame:
    """The units of one split, over all folds: the rows that metrics and figures take.

    Args:
        table: Prediction table, one row per clip.
        split: Which part of each fold.
        unit: What one row of the result stands for.
    """
    return aggregate(table[table["split"] == split], unit)


def probability_columns(classes: list[str]) -> list[str]:
    """Names of the fused probability columns, in the order of the classes."""
    return [f"probability_{name}" for name in classes]


def class_probabilities(
    rows: pd.DataFrame, classes: list[str]
) -> Float[np.ndarray, "unit num_classes"]:
    """Fused probabilities, one column per class; rounding errors beyond 0 and 1 are cut off."""
    probabilities = rows[probability_columns(classes)].to_numpy(dtype=np.float64)
    return np.asarray(np.clip(probabilities, 0.0, 1.0))


def true_classes(rows: pd.DataFrame, classes: list[str]) -> Int[np.ndarray, " unit"]:
    """Index of every row's label in `classes`.

    Raises:
        ValueError: If a label is not among the classes.
    """
    indices = pd.Index(classes).get_indexer(pd.Index(rows["label"]))
    if (indices < 0).any():
        unknown = sorted({str(label) for label in rows["label"]} - set(classes))
        raise ValueError(
            f"unknown label {', '.join(map(repr, unknown))}; choose one of: {', '.join(classes)}"
        )
    return np.asarray(indices, dtype=np.int64)


def positive_index(classes: list[str], positive_class: str) -> int | None:
    """Index of the positive class; None for three or more classes, which have none.

    Raises:
        ValueError: If there are two classes and neither is the positive class.
    """
    if len(classes) > 2:
        return None
    if positive_class not in classes:
        raise ValueError(unknown_choice("positive class", positive_class, classes))
    return classes.index(positive_class)


def _cell_problems(table: pd.DataFrame, classes: list[str]) -> Iterator[str]:
    for column in PLAIN_COLUMNS:
        if count := int(table[column].isna().sum()):
            yield f"{column} must not be empty, {count} rows are"
    if not pd.api.types.is_integer_dtype(table["fold"]):
        yield f"fold must be an integer, got {table['fold'].dtype}"
    for column, choices in (("split", list(SPLITS)), ("label", classes)):
        if unknown := sorted({str(cell) for cell in table[column]} - set(choices)):
            yield f"{column} must be one of {', '.join(choices)}, got {', '.join(unknown)}"
    probabilities = table[probability_columns(classes)].to_numpy(dtype=np.float64)
    outside = ~((probabilities >= -SUM_TOLERANCE) & (probabilities <= 1 + SUM_TOLERANCE))
    if count := int(outside.any(axis=1).sum()):
        yield f"probabilities must lie between 0 and 1, in {count} rows one does not"
    elif count := int((np.abs(probabilities.sum(axis=1) - 1) > SUM_TOLERANCE).sum()):
        yield f"probabilities must sum to 1, in {count} rows they do not"


def _split_problems(table: pd.DataFrame) -> Iterator[str]:
    clips = table.duplicated(["fold", "split", "video", "clip_start"])
    if count := int(clips.sum()):
        yield f"a clip must stand once in a fold and split, {count} rows repeat one"
    for owned, owner in (("label", "patient_id"), ("group", "patient_id"), ("patient_id", "video")):
        pairs = table[[owner, owned]].drop_duplicates()
        if count := int((pairs[owner].value_counts() > 1).sum()):
            yield f"a {owner} must have one {owned}, {count} have several"
    for owner in ("patient_id", "group"):
        tested = table[table["split"] == "test"].groupby(owner)["fold"].nunique()
        if count := int((tested > 1).sum()):
            yield f"a {owner} must be tested in one fold only, {count} are in several"
        shared = table.groupby(["fold", owner])["split"].nunique()
        if count := int((shared > 1).sum()):
            yield f"a {owner} must not be in val and test of one fold, {count} are"
