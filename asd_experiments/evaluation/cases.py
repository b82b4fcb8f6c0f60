"""What is judged: cases of one unit, with all that turns their probabilities into decisions."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from asd_experiments.evaluation.predictions import (
    Split,
    Unit,
    class_probabilities,
    positive_index,
    select_units,
    true_classes,
)
from asd_experiments.evaluation.threshold import choose_thresholds, decide

_NAMES_TAKEN = ("macro", "weighted", "fold_mean", "fold_sd", "fold_count", "ci_low", "ci_high")
_NO_NAME = re.compile(r"[^\w.\- ]")  # characters that MLflow takes in no metric, or as a folder
_NAME_CHARACTERS = 100  # MLflow takes 250 for the whole name of a metric


@dataclass(frozen=True)
class Cases:
    """Units of one split, each to be judged by the threshold of its own fold."""

    rows: pd.DataFrame
    """One row per unit, from `select_units`."""

    classes: list[str]
    """All classes in their fixed order."""

    positive_class: str
    """Which of two classes counts as positive; not used for three or more."""

    thresholds: Mapping[int, float]
    """Threshold of every fold; not used for three or more classes."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def positive(self) -> int | None:
        """Index of the positive class; None for three or more classes, which have none."""
        return positive_index(self.classes, self.positive_class)

    @property
    def names(self) -> list[str]:
        """The classes as they stand in names of metrics.

        What MLflow refuses becomes `_`; a name that would then be another's gets its number.
        """
        safe = [_NO_NAME.sub("_", name)[:_NAME_CHARACTERS] for name in self.classes]
        return [
            f"{name}_{number}" if safe.count(name) > 1 or name in _NAMES_TAKEN else name
            for number, name in enumerate(safe, start=1)
        ]

    @cached_property
    def has_folds(self) -> bool:
        """Whether there are several folds, each with networks and a threshold of its own."""
        return len(np.unique(self.rows["fold"])) > 1

    @cached_property
    def truth(self) -> Int[np.ndarray, " unit"]:
        """True class of every unit, as an index into `classes`."""
        return true_classes(self.rows, self.classes)

    @cached_property
    def probabilities(self) -> Float[np.ndarray, "unit num_classes"]:
        """Fused probability of every class."""
        return class_probabilities(self.rows, self.classes)

    @cached_property
    def decisions(self) -> Int[np.ndarray, " unit"]:
        """Class decided for every unit, as an index into `classes`."""
        return decide(self.rows, self.classes, self.positive_class, self.thresholds)

    def where(self, chosen: Bool[np.ndarray, " unit"]) -> "Cases":
        """Some of the cases."""
        return replace(self, rows=self.rows[chosen])

    def by_fold(self) -> Iterator[tuple[int, "Cases"]]:
        """The cases of every fold, in the order of the folds."""
        folds = self.rows["fold"].to_numpy()
        for fold in np.unique(folds):
            yield int(fold), self.where(folds == fold)


@dataclass(frozen=True)
class Predictions:
    """The prediction table of a trial, with all that it takes to judge it."""

    table: pd.DataFrame
    """Prediction table, one row per clip: see `predictions`."""

    classes: list[str]
    """All classes in their fixed order."""

    positive_class: str
    """Which of two classes counts as positive; not used for three or more."""

    @cached_property
    def thresholds(self) -> dict[int, float]:
        """Threshold of every fold, from its inner validation patients."""
        chosen = choose_thresholds(self.table, self.classes, self.positive_class)
        return {fold: threshold.value for fold, threshold in chosen.items()}

    def cases(
        self, split: Split, unit: Unit, chosen: Bool[np.ndarray, " clip"] | None = None
    ) -> Cases:
        """The units of one split, over all folds.

        Args:
            split: Which part of each fold.
            unit: What one case stands for.
            chosen: Rows of the table through which the units are seen. None: all.
        """
        table = self.table if chosen is None else self.table[chosen]
        rows = self._units(table, split, unit)
        return Cases(rows, self.classes, self.positive_class, self.thresholds)

    def _units(self, table: pd.DataFrame, split: Split, unit: Unit) -> pd.DataFrame:
        return select_units(table, split, unit)
