"""What several networks say together of cases that none of them was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.predictions import (
    SCORE_PREFIXES,
    Split,
    Unit,
    probability_columns,
    select_units,
)
from asd_experiments.evaluation.temperature import calibrated

_ONE = 0  # the fold of all cases: they are judged by one threshold


@dataclass(frozen=True)
class NetworkPredictions(Predictions):
    """Predictions that several networks share, with calibration and threshold given.

    In `table` the column `fold` is the number of the network, all rows are of the split `test`, and
    every network saw every clip. A case's probability is the mean over its clips, of one network
    and at its temperature, and then the mean over the networks.
    """

    temperatures: Mapping[int, float]
    """Temperature of every network."""

    threshold: float | None
    """Threshold of the positive class's probability; None for three or more classes."""

    @cached_property
    def thresholds(self) -> dict[int, float]:
        """The threshold, by the one fold that all cases are of."""
        return {} if self.threshold is None else {_ONE: self.threshold}

    def _units(self, table: pd.DataFrame, split: Split, unit: Unit) -> pd.DataFrame:
        by_network = select_units(table, split, unit)
        columns = probability_columns(self.classes)
        by_network[columns] = calibrated(by_network, self.classes, self.temperatures)
        scores = ("fold", *SCORE_PREFIXES)
        keys = [name for name in by_network.columns if not str(name).startswith(scores)]
        means = by_network.groupby(keys, sort=True)[columns].mean().reset_index()
        means.insert(0, "fold", _ONE)
        return means
