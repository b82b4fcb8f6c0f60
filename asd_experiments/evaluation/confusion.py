"""Confusion matrices."""

import numpy as np
from jaxtyping import Int

from asd_experiments.evaluation.cases import Cases


def confusion_counts(cases: Cases) -> Int[np.ndarray, "true predicted"]:
    """Count the units of every true and predicted class, pooled over folds.

    Rows and columns are in the order of the classes.
    """
    counts = np.zeros((len(cases.classes), len(cases.classes)), dtype=np.int64)
    np.add.at(counts, (cases.truth, cases.decisions), 1)
    return counts
