"""Reliability curve."""

import numpy as np
from matplotlib.figure import Figure

from asd_experiments.evaluation.calibration import brier_score, calibration_points
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.figures.style import (
    GREY,
    colour,
    dashes,
    name_axes,
    new_figure,
    unit_square,
)


def calibration_figure(cases: Cases, title: str) -> Figure:
    """Draw the reliability curve: observed share against predicted probability.

    Args:
        cases: Units of one split.
        title: Heading, e.g. `Test, 81 patients`.
    """
    points = calibration_points(cases)
    figure, axes = new_figure(title)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfect")
    for index, (name, curve) in enumerate(points.groupby("class", sort=False)):
        y, num_cases = curve["observed_share"], curve["count"]
        certainty = ", 95 % CI" if curve["ci_low"].notna().any() else ""
        axes.errorbar(
            curve["mean_probability"],
            y,
            yerr=np.stack([y - curve["ci_low"], curve["ci_high"] - y]),
            color=colour(index),
            linestyle=dashes(index),
            marker="o",
            linewidth=2,
            capsize=4,
            clip_on=False,
            label=f"{name}: {num_cases.min()} to {num_cases.max()} cases each{certainty}",
        )
    brier = brier_score(cases.truth, cases.probabilities)
    name_axes(axes, "predicted probability", "observed share")
    unit_square(figure, axes, f"Brier score {brier:.3f}")
    return figure
