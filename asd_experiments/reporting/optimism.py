"""What it costs to choose: the value that a winner was chosen by, and the one to report."""

from dataclasses import dataclass

import numpy as np

from asd_experiments.evaluation.bootstrap import draw_groups
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.predictions import Unit
from asd_experiments.evaluation.uncertainty import metric_draws
from asd_experiments.reporting.sampled import Estimate, estimate_of
from asd_experiments.reporting.table import figure_text, title_of
from asd_experiments.tracking.finished_trial import FinishedTrial


def group_names(cases: Cases) -> "np.ndarray":
    """Names of the groups, in the order in which draws weight them."""
    return np.unique(cases.rows["group"].astype(str))


@dataclass(frozen=True)
class Optimism:
    """Inner validation and outer test of one trial."""

    trial: FinishedTrial
    metric: str
    unit: Unit
    validation: Estimate
    test: Estimate

    difference: Estimate
    """Validation minus test: how much better the winner looked than it is."""

    def told(self) -> str:
        """What the figures say, in plain words."""
        name = title_of(self.metric)
        return (
            f"The winner of the sweep, {self.trial.name}, was chosen by a validation {name} of "
            f"{figure_text(self.validation)} ({self.unit}s). On its outer test patients, who had "
            f"no part in the choice, it is {figure_text(self.test)}: report that one. The "
            f"difference, {figure_text(self.difference, signed=True)}, is the optimism of choosing."
        )


def optimism(trial: FinishedTrial, unit: Unit, metric: str, *, seed: int = 0) -> Optimism:
    """Compare what a trial was chosen by with what its outer test patients say.

    Every draw takes the same patients for both: a patient is tested in one fold and may be a
    validation patient of others.

    Args:
        trial: The trial that a sweep chose.
        unit: What counts as one case.
        metric: One of `comparison.COMPARED_METRICS`.
        seed: Seed of the draws.
    """
    test, validation = (trial.predictions.cases(split, unit) for split in ("test", "val"))
    names = group_names(test)
    once, weights = np.ones((1, len(names))), draw_groups(test, seed=seed)
    rows = once if weights is None else np.vstack([once, weights])
    tested = metric_draws(test, rows, (metric,))[metric]
    seen = np.isin(names, group_names(validation))
    validated = metric_draws(validation, rows[:, seen], (metric,))[metric]
    return Optimism(
        trial,
        metric,
        unit,
        *(estimate_of(values[0], values[1:]) for values in (validated, tested, validated - tested)),
    )
