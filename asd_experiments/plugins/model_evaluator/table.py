"""Reads anybody's prediction table: labels, a group, and a probability of every class."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from asd_experiments.errors import InputError, all_problems, did_you_mean, unknown_choice
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.predictions import (
    SUM_TOLERANCE,
    Unit,
    probability_columns,
    select_units,
)
from asd_experiments.plugins.model_evaluator.settings import EvaluatorConfig

DEFAULT_THRESHOLD = 0.5
UNITS: dict[str, Unit] = {"row": "clip", "group": "patient"}
"""What is judged: every row, and every group by the mean of its rows; with our own names."""

_COLUMN = "probability_"
_LISTED = 5


@dataclass(frozen=True)
class PredictionTable:
    """A table that was found right, with all that it takes to judge it."""

    rows: pd.DataFrame
    """A prediction table of one fold, all of it tested, with the rows as clips, groups as patients:
    see `evaluation.predictions`."""

    classes: list[str]
    """All classes in their fixed order."""

    positive_class: str
    """Which of two classes counts as positive; empty for three or more."""

    threshold: float | None
    """From which probability of the positive class a case is positive; None: the most probable."""

    def cases(self, unit: str) -> Cases:
        """The rows, or the groups by the mean of their rows."""
        rows = select_units(self.rows, "test", UNITS[unit])
        thresholds = {} if self.threshold is None else {0: self.threshold}
        return Cases(rows, self.classes, self.positive_class, thresholds)


def read_table(
    features: pd.DataFrame,
    labels: np.ndarray,
    predictions: np.ndarray | None,
    config: EvaluatorConfig,
) -> PredictionTable:
    """Read a table as MLflow hands it over, and check every row.

    Args:
        features: All columns but those of the labels and the predictions.
        labels: True class of every row.
        predictions: Column that `predictions=` named; None: none.
        config: How the table is to be read.

    Raises:
        InputError: If a column is missing, or rows are wrong; the message lists all problems.
    """
    if len(features) == 0:
        raise InputError("data must have at least one row, got none")
    columns = [str(name) for name in features.columns]
    if config.group not in columns:
        raise InputError(_no_column("group", config.group, columns))
    missing = pd.isna(pd.Series(labels))
    texts = np.array([str(label) for label in labels], dtype=object)
    known = sorted(set(texts[~missing.to_numpy()]))
    if config.probabilities is None and predictions is not None:
        classes, scores = _of_positive_class(predictions, known, config)
    else:
        classes, scores = _of_every_class(features, config)
    positive, threshold = _rule(classes, config)
    groups = features[config.group]
    problems = [
        *_row_problems(f"group: column {config.group!r} must not be empty", groups.isna()),
        *_row_problems("targets must not be empty", missing),
        *_label_problems(texts, missing, classes),
        *_group_problems(groups, texts),
        *_probability_problems(scores),
    ]
    if problems:
        raise InputError(all_problems("with the prediction table", problems))
    number = np.arange(len(features))
    rows = pd.DataFrame(
        {
            "fold": 0,
            "split": "test",
            "group": groups.astype(str).to_numpy(),
            "patient_id": groups.astype(str).to_numpy(),
            "video": number.astype(str),
            "clip_start": number,
            "clip_start_seconds": 0.0,
            "label": texts,
            **dict(zip(probability_columns(classes), scores.T, strict=True)),
        }
    )
    return PredictionTable(rows, classes, positive, threshold)


def _of_positive_class(
    predictions: np.ndarray, known: list[str], config: EvaluatorConfig
) -> tuple[list[str], Float[np.ndarray, "row num_classes"]]:
    """Both classes and their probabilities, of which `predictions=` holds that of the positive."""
    if len(known) != 2:
        raise InputError(
            f"predictions= is the probability of one of two classes, and targets hold {len(known)} "
            f"({', '.join(known[:_LISTED])}); name the column of every class by "
            "evaluator_config['probabilities']: {class: column}"
        )
    _check_positive_class(known, config)
    positive = _numbers(pd.Series(predictions), "predictions")
    index = known.index(str(config.positive_class))
    return known, np.stack([1 - positive, positive] if index else [positive, 1 - positive], axis=1)


def _of_every_class(
    features: pd.DataFrame, config: EvaluatorConfig
) -> tuple[list[str], Float[np.ndarray, "row num_classes"]]:
    columns = [str(name) for name in features.columns]
    of_class = config.probabilities or {
        name.removeprefix(_COLUMN): name for name in columns if name.startswith(_COLUMN)
    }
    if not of_class:
        raise InputError(
            "no probabilities: name their column by predictions= (two classes: that of the "
            "positive one), or the column of every class by evaluator_config['probabilities']: "
            f"{{class: column}}, or call the columns {_COLUMN}<class>; there are: "
            f"{', '.join(columns)}"
        )
    if len(of_class) < 2:
        raise InputError(
            f"probabilities must name a column for each of at least two classes, got {of_class}"
        )
    if lacking := [
        _no_column(f"probabilities[{name!r}]", column, columns)
        for name, column in of_class.items()
        if column not in columns
    ]:
        raise InputError(all_problems("with evaluator_config", lacking))
    scores = [_numbers(features[column], column) for column in of_class.values()]
    return list(of_class), np.stack(scores, axis=1)


def _rule(classes: list[str], config: EvaluatorConfig) -> tuple[str, float | None]:
    """The positive class, and the threshold of its probability."""
    if len(classes) == 2:
        _check_positive_class(classes, config)
        threshold = DEFAULT_THRESHOLD if config.threshold is None else config.threshold
        return str(config.positive_class), threshold
    given = {"positive_class": config.positive_class, "threshold": config.threshold}
    if strays := [name for name, value in given.items() if value is not None]:
        raise InputError(
            f"{' and '.join(strays)}: for two classes alone, and there are {len(classes)} "
            f"({', '.join(classes[:_LISTED])}); leave it out: the most probable class is called"
        )
    return "", None


def _check_positive_class(classes: list[str], config: EvaluatorConfig) -> None:
    if config.positive_class is None:
        raise InputError(
            f"positive_class: must be given for two classes; choose one of: {', '.join(classes)}"
        )
    if config.positive_class not in classes:
        raise InputError(unknown_choice("positive_class", config.positive_class, classes))


def _numbers(column: pd.Series, name: str) -> Float[np.ndarray, " row"]:
    """A column as numbers; missing ones stay missing.

    Raises:
        InputError: If it holds anything else, such as decisions.
    """
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    if (strange := np.isnan(numbers) & column.notna().to_numpy()).any():
        row = int(strange.argmax())
        raise InputError(
            f"{name} must hold probabilities, not decisions or words, got {column.iloc[row]!r} in "
            f"row {row} (counted from 0)"
        )
    return numbers


def _row_problems(rule: str, wrong: "pd.Series[bool] | Bool[np.ndarray, ' row']") -> Iterator[str]:
    """A rule, how many rows break it, and the first ones."""
    where = np.flatnonzero(np.asarray(wrong))
    if len(where):
        yield f"{rule}: {_listed(where)}"


def _listed(where: np.ndarray) -> str:
    first = ", ".join(map(str, where[:_LISTED]))
    more = f" and {len(where) - _LISTED} more" if len(where) > _LISTED else ""
    return f"row{'s' if len(where) > 1 else ''} {first}{more} (counted from 0)"


def _label_problems(
    labels: np.ndarray, missing: "pd.Series[bool]", classes: list[str]
) -> Iterator[str]:
    strange = ~np.isin(labels, classes) & ~missing.to_numpy()
    if strange.any():
        names = ", ".join(map(repr, sorted(set(labels[strange]))[:_LISTED]))
        rule = f"targets must be one of {', '.join(classes)}, got {names}"
        yield from _row_problems(rule, strange)


def _group_problems(groups: pd.Series, labels: np.ndarray) -> Iterator[str]:
    """A group is judged as one case, so it has one label."""
    found = pd.DataFrame({"group": groups.to_numpy(), "label": labels}).dropna()
    several = found.groupby("group", sort=True)["label"].unique()
    for group, names in several[several.map(len) > 1].head(_LISTED).items():
        yield f"a group must have one label, {group!r} has {', '.join(map(repr, sorted(names)))}"
    if (count := int((several.map(len) > 1).sum())) > _LISTED:
        yield f"and {count - _LISTED} groups more have several labels"


def _probability_problems(scores: Float[np.ndarray, "row num_classes"]) -> Iterator[str]:
    missing = np.isnan(scores).any(axis=1)
    yield from _row_problems("probabilities must not be empty", missing)
    inside = (scores >= -SUM_TOLERANCE) & (scores <= 1 + SUM_TOLERANCE)
    outside = ~inside.all(axis=1) & ~missing
    yield from _row_problems("probabilities must lie between 0 and 1", outside)
    sums = scores.sum(axis=1)
    wrong = (np.abs(sums - 1) > SUM_TOLERANCE) & ~missing & ~outside
    if wrong.any():
        first = sums[wrong.argmax()]
        yield from _row_problems(f"probabilities must sum to 1, not {first:.6g}", wrong)


def _no_column(what: str, name: str, columns: list[str]) -> str:
    others = ", ".join(columns) or "none"
    return (
        f"{what}: data has no column {name!r}; beside those of targets and predictions it has: "
        f"{others}{did_you_mean(name, columns)}"
    )
