"""Confusion matrices."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Int

from asd_experiments.evaluation.predictions import true_classes
from asd_experiments.evaluation.threshold import decide


def confusion_counts(
    rows: pd.DataFrame, classes: list[str], positive_class: str, thresholds: Mapping[int, float]
) -> Int[np.ndarray, "true predicted"]:
    """Count the units of every true and predicted class, pooled over folds.

    Args:
        rows: Units of one split, from `select_units`.
        classes: All classes in their fixed order, which is the order of rows and columns.
        positive_class: Which of two classes counts as positive.
        thresholds: Threshold of every fold; not used for three or more classes.
    """
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    decisions = decide(rows, classes, positive_class, thresholds)
    np.add.at(counts, (true_classes(rows, classes), decisions), 1)
    return counts
