"""What it costs to choose: the value that a winner was chosen by, and those to report."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Float

from asd_experiments.evaluation.bca import bca_interval
from asd_experiments.evaluation.bootstrap import classes_of_groups, group_names
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.comparison import COMPARED_METRICS
from asd_experiments.evaluation.metrics import METRICS, metric_values
from asd_experiments.evaluation.predictions import Unit
from asd_experiments.evaluation.sampled import Estimate, goodness, rows_of_draws
from asd_experiments.evaluation.uncertainty import metric_draws, metric_intervals
from asd_experiments.evaluation.wording import figure_text, title_of
from asd_experiments.tracking.finished_trial import FinishedTrial

_LEVEL = 0.95
_JUDGED = re.compile(r"val/(patient|video|clip)/(\w+?)(?:_fold_mean)?")


@dataclass(frozen=True)
class Optimism:
    """Inner validation and outer test of the trial that a sweep chose."""

    trial: FinishedTrial

    judged: str
    """Metric that it was chosen by, `val/<unit>/<metric>`."""

    metric: str
    """The same, or AUROC where that cannot be resampled."""

    unit: Unit
    validation: Estimate
    test: Estimate

    difference: Estimate
    """Validation minus test, or the reverse where small values are good: how much better the
    winner looked than it was on test patients."""

    nested: Estimate | None
    """Test value of the choice itself: every fold's test patients judged by the trial that this
    fold's validation patients choose. None if the trials are not given, or have other folds."""

    def told(self) -> str:
        """What the figures say, in plain words."""
        name = title_of(self.metric)
        by = "" if self.judged == f"val/{self.unit}/{self.metric}" else f"{self.judged}, with "
        told = (
            f"The winner of the sweep, {self.trial.name}, was chosen by {by}a validation {name} of "
            f"{figure_text(self.validation)} ({self.unit}s). On outer test patients it is "
            f"{figure_text(self.test)}; the difference, {figure_text(self.difference, signed=True)}"
            ", is how much better it looked. Report the test figure, not the validation figure."
        )
        if self.nested is None:
            return f"{told} {PART_OF_THE_CHOICE}"
        return (
            f"{told} {PART_OF_THE_CHOICE} Chosen anew in every fold by that fold's validation "
            f"patients alone, the test {name} is {figure_text(self.nested)}: this figure owes "
            "nothing to the choice."
        )


PART_OF_THE_CHOICE = (
    "No network had seen its test patients, but they were validation patients of other folds and "
    "so had a part in the choice of the configuration."
)
"""Of every configuration that was chosen among several."""


def optimism(
    trial: FinishedTrial, judged: str, others: Sequence[FinishedTrial] = (), *, seed: int = 0
) -> Optimism | None:
    """Compare what a trial was chosen by with what its outer test patients say.

    Every draw takes the same patients for both: a patient is tested in one fold and may be a
    validation patient of others.

    Args:
        trial: The trial that a sweep chose.
        judged: The metric that it was chosen by.
        others: All finished trials of the sweep, it among them; none: `nested` is not computed.
        seed: Seed of the draws.

    Returns:
        The comparison; None if the metric is none of `val/<unit>/<metric>`.
    """
    found = _JUDGED.fullmatch(judged)
    if found is None or found[2] not in METRICS:
        return None
    unit, judge = cast(Unit, found[1]), found[2]
    metric = judge if judge in COMPARED_METRICS else "auroc"
    test, validation = (trial.predictions.cases(split, unit) for split in ("test", "val"))
    holds, rows = classes_of_groups(test), rows_of_draws(test, seed=seed)
    tested = metric_draws(test, rows, (metric,))[metric]
    seen = np.isin(group_names(test), group_names(validation))
    validated = metric_draws(validation, rows[:, seen], (metric,))[metric]
    sign = -1 if METRICS[metric] == "minimize" else 1

    def estimate(values: Float[np.ndarray, " row"]) -> Estimate:
        return Estimate(float(values[0]), bca_interval(values, holds, _LEVEL))

    own = metric_intervals(test, ranking=(metric,), seed=seed).get(metric)
    return Optimism(
        trial,
        judged,
        metric,
        unit,
        estimate(validated),
        Estimate(float(tested[0]), own),
        estimate(sign * (validated - tested)),
        _nested(others, unit, judge, metric, seed),
    )


def _nested(
    trials: Sequence[FinishedTrial], unit: Unit, judge: str, metric: str, seed: int
) -> Estimate | None:
    """Judge every fold's test patients by the trial that the fold's validation patients choose."""
    tested = [trial.predictions.cases("test", unit) for trial in trials]
    if not tested or len({_folds_of(cases) for cases in tested}) > 1:
        return None
    validated = [dict(t.predictions.cases("val", unit).by_fold()) for t in trials]
    parts, thresholds = [], {}
    for fold in sorted(validated[0]):
        values = [metric_values(own[fold]).get(judge, np.nan) for own in validated]
        chosen = tested[int(np.argmax([goodness(judge, value) for value in values]))]
        parts.append(chosen.rows[chosen.rows["fold"] == fold])
        if fold in chosen.thresholds:
            thresholds[fold] = chosen.thresholds[fold]
    first = tested[0]
    pooled = Cases(pd.concat(parts), first.classes, first.positive_class, thresholds)
    value = metric_values(pooled).get(metric)
    interval = metric_intervals(pooled, ranking=(metric,), seed=seed).get(metric)
    return None if value is None else Estimate(value, interval)


def _folds_of(cases: Cases) -> frozenset[tuple[str, int]]:
    rows = cases.rows.drop_duplicates(["patient_id", "fold"])
    return frozenset(zip(rows["patient_id"].astype(str), rows["fold"], strict=True))
