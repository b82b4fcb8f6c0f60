"""For whom does the model work? The test patients by what is known of them and their videos."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from asd_experiments.evaluation.cases import Cases, Predictions
from asd_experiments.evaluation.curves import curve_classes
from asd_experiments.evaluation.metrics import metric_values
from asd_experiments.evaluation.uncertainty import metric_intervals

ALL = "all patients"
"""Level of the first row, to which the others are compared."""

MISSING = "missing"
FEWEST = 5
"""Patients below which a row is marked as small: a single one moves it by 25 points or more."""

MOST_LEVELS = 10  # a text with more tells cases apart and does not group them
_FEW_NUMBERS = 5  # a number with so few values, such as a grade, is a level itself
_NOT_METADATA = {"video", "patient_id", "label"}


def subgroup_table(predictions: Predictions, videos: pd.DataFrame) -> pd.DataFrame:
    """Judge the test patients by the levels of every metadata column.

    A patient is seen through the videos of the level alone: where `view` changes from video to
    video, a patient is in several rows, once in each. Every patient is decided by the threshold of
    the fold. What the readers said (`reader_*`) is no subgroup.

    Args:
        predictions: Prediction table of a trial.
        videos: One row per video: video, patient_id, label and metadata columns.

    Returns:
        One row per column and level, all patients first; nan where a figure is undefined:

        - column, level, num_patients, num_<class>, is_small (fewer than 5 patients);
        - auroc with _ci_low and _ci_high where every class occurs. Of two classes, a level that
            holds one (a disease has one label) is compared to all patients of the other class, and
            `auroc_against` says so;
        - accuracy; sensitivity and specificity (two classes): each with _ci_low and _ci_high;
        - mean_probability_<class>, of the positive class (two classes) or of each.
    """
    video_of_clip = predictions.table["video"]
    everybody = predictions.cases("test", "patient")
    rows = [_row("", ALL, everybody, everybody)]
    for column in subgroup_columns(videos):
        levels = _levels(videos, column)
        level_of_clip = video_of_clip.map(dict(zip(videos["video"], levels, strict=True)))
        for level in dict.fromkeys(levels.sort_values(key=_in_order)):
            cases = predictions.cases("test", "patient", (level_of_clip == level).to_numpy())
            if len(cases):
                rows.append(_row(column, str(level), cases, everybody))
    return pd.DataFrame(rows)


def subgroup_columns(videos: pd.DataFrame) -> list[str]:
    """Columns that divide the patients into groups: neither constant nor different for each."""
    metadata = [
        str(column)
        for column in videos.columns
        if column not in _NOT_METADATA and not str(column).startswith("reader_")
    ]
    return [column for column in metadata if _divides(videos[column])]


def _divides(values: pd.Series) -> bool:
    num_levels = values.nunique() + int(values.isna().any())
    is_grouping = _is_number(values) or values.nunique() <= MOST_LEVELS
    return num_levels > 1 and is_grouping


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _levels(videos: pd.DataFrame, column: str) -> pd.Series:
    """Level of every video, as a text or, of an ordered column, as an ordered category."""
    values = videos[column]
    if not _is_number(values):
        return values.astype(object).where(values.notna(), MISSING).astype(str)
    if values.nunique() <= _FEW_NUMBERS:
        names = {value: f"{value:g}" for value in sorted(values.dropna().unique())}
        named = values.map(names)
    else:
        named, names = _thirds(videos, column)
    order = [*dict.fromkeys(names.values()), MISSING]
    return pd.Series(pd.Categorical(named.fillna(MISSING), order, ordered=True))


def _thirds(videos: pd.DataFrame, column: str) -> tuple[pd.Series, dict[int, str]]:
    """Cut where a third and two thirds of the patients lie, or of the videos if they differ."""
    pairs = videos[["patient_id", column]].dropna().drop_duplicates()
    edges = np.quantile(pairs[column], [1 / 3, 2 / 3])
    values = videos[column]
    part = pd.Series(np.searchsorted(edges, values, side="left"), index=values.index)
    part = part.where(values.notna())
    names = {
        int(number): f"{own.min():g} to {own.max():g}"
        for number, own in values.groupby(part, sort=True)
    }
    return part.map(names), names


def _in_order(levels: pd.Series) -> pd.Series:
    """Order of the rows: categories in theirs, texts by the alphabet, what is missing last."""
    if isinstance(levels.dtype, pd.CategoricalDtype):
        return levels.cat.codes
    return (levels == MISSING).astype(str) + levels


def _row(column: str, level: str, cases: Cases, everybody: Cases) -> dict[str, Any]:
    labels, measures = cases.rows["label"], ["accuracy"]
    if cases.positive is not None:
        measures += ["sensitivity", "specificity"]
    row: dict[str, Any] = {
        "column": column,
        "level": level,
        "num_patients": len(cases),
        **{f"num_{name}": int((labels == name).sum()) for name in cases.classes},
        "is_small": len(cases) < FEWEST,
        **_auroc(cases, everybody),
        **_with_limits(cases, measures),
    }
    for name in curve_classes(cases):
        index = cases.classes.index(name)
        row[f"mean_probability_{name}"] = float(cases.probabilities[:, index].mean())
    return row


def _auroc(cases: Cases, everybody: Cases) -> dict[str, Any]:
    """AUROC and its interval, against all patients of the other class if the level holds one."""
    against, present = "", {*cases.rows["label"]}
    if len(present) == 1 and cases.positive is not None and cases is not everybody:
        (other,) = {*cases.classes} - present
        others = everybody.rows[everybody.rows["label"] == other]
        cases = replace(cases, rows=pd.concat([cases.rows, others], ignore_index=True))
        against = f"all {len(others)} {other}"
    return {**_with_limits(cases, ["auroc"]), "auroc_against": against}


def _with_limits(cases: Cases, measures: Sequence[str]) -> dict[str, float]:
    """Metrics with the limits of their intervals; nan where one is undefined."""
    values, intervals = metric_values(cases), metric_intervals(cases, ranking=measures)
    row: dict[str, float] = {}
    for name in measures:
        low, high = intervals.get(name, (np.nan, np.nan))
        row |= {name: values.get(name, np.nan), f"{name}_ci_low": low, f"{name}_ci_high": high}
    return row
