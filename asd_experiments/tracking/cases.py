"""What a run shows of the cases of one unit: curves, calibration, confusion matrix."""

import numpy as np
import pandas as pd

from asd_experiments.evaluation.bands import precision_recall_band, roc_band
from asd_experiments.evaluation.calibration import calibration_points
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.confusion import confusion_counts
from asd_experiments.evaluation.curves import precision_recall_points, roc_points
from asd_experiments.evaluation.decision_curve import decision_curve
from asd_experiments.evaluation.figures.calibration import calibration_figure
from asd_experiments.evaluation.figures.confusion import confusion_figure
from asd_experiments.evaluation.figures.curves import precision_recall_figure, roc_figure
from asd_experiments.evaluation.figures.decision import decision_figure
from asd_experiments.tracking.artifacts import Evaluated


def add_cases(
    results: Evaluated, cases: Cases, name: str, where: str, *, are_treated: bool
) -> None:
    """Add the tables and figures of some cases.

    Args:
        results: Where they go.
        cases: Units of one split, over all folds.
        name: Ends the name of every table and figure, such as `patient`.
        where: What the cases are, for the headings, such as `test patients, all folds`.
        are_treated: Whether somebody is treated by the decision: there is a decision curve then.
    """
    roc, precision_recall = roc_band(cases), precision_recall_band(cases)
    figures = {
        "roc": roc_figure(cases, f"ROC: {where}", roc),
        "precision_recall": precision_recall_figure(
            cases, f"Precision and recall: {where}", precision_recall
        ),
        "calibration": calibration_figure(cases, f"Calibration: {where}"),
        "confusion_matrix": confusion_figure(
            confusion_counts(cases), cases.classes, f"Confusion matrix: {where}"
        ),
    }
    tables = {
        "roc": roc_points(cases),
        "roc_band": roc,
        "precision_recall": precision_recall_points(cases),
        "precision_recall_band": precision_recall,
        "calibration": calibration_points(cases),
        "confusion_matrix": confusion_table(cases),
    }
    if are_treated:
        tables["decision_curve"] = decision_curve(cases)
        title = f"Decision curve: {where}"
        figures["decision_curve"] = decision_figure(tables["decision_curve"], title)
    for kind, figure in figures.items():
        results.add_figure(f"{kind}_{name}", figure)
    for kind, table in tables.items():
        results.add_table(f"{kind}_{name}", table)


def confusion_table(cases: Cases) -> pd.DataFrame:
    """Counts, one row per true and predicted class: no class can be called like a column."""
    cells = [
        {"true": cases.classes[true], "predicted": cases.classes[predicted], "count": int(count)}
        for (true, predicted), count in np.ndenumerate(confusion_counts(cases))
    ]
    return pd.DataFrame(cells)
