"""Is it worth deciding by the model, rather than treating everybody or nobody?"""

from typing import Literal, get_args

import pandas as pd

from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.curves import curve_classes

Strategy = Literal["model", "all", "none"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
THRESHOLDS = tuple(percent / 100 for percent in range(1, 100))
COLUMNS = ("class", "strategy", "threshold", "net_benefit", "true_positives", "false_positives")


def decision_curve(cases: Cases) -> pd.DataFrame:
    """Net benefit of three strategies at every threshold probability, over all folds together.

    The threshold is the probability from which a doctor would treat, and so says how many needless
    treatments one needed treatment is worth. Net benefit is the share of true positives less the
    share of false positives, weighted by the odds of the threshold: 0.1 stands for ten treated
    patients of a hundred, all of whom needed it. It takes a predicted probability at its word, so
    it belongs beside the calibration.

    Args:
        cases: Units of one split. Three or more classes: one curve per class, against the rest.

    Returns:
        Columns class, strategy (model, all, none), threshold (0.01 to 0.99), net_benefit,
        true_positives and false_positives (shares of all cases). A class that all cases have, or
        none, has no curve.

    References:
        Vickers and Elkin 2006, https://doi.org/10.1177/0272989X06295361.
    """
    curves = [_of_one_class(cases, name) for name in _defined_classes(cases)]
    empty = pd.DataFrame({name: [] for name in COLUMNS})
    return pd.concat(curves, ignore_index=True) if curves else empty


def _defined_classes(cases: Cases) -> list[str]:
    present = set(cases.rows["label"])
    return [name for name in curve_classes(cases) if name in present and len(present) > 1]


def _of_one_class(cases: Cases, name: str) -> pd.DataFrame:
    from dcurves import dca  # takes 5 s to import, for a moment at the end of a training

    index = cases.classes.index(name)
    scores = {"outcome": cases.truth == index, "model": cases.probabilities[:, index]}
    table = dca(pd.DataFrame(scores), "outcome", ["model"], thresholds=THRESHOLDS)
    table = table.rename(
        columns={
            "model": "strategy",
            "tp_rate": "true_positives",
            "fp_rate": "false_positives",
        }
    )
    table["class"] = name
    return pd.DataFrame(table, columns=list(COLUMNS))
