import math

import numpy as np
import pandas as pd
import pytest

from asd_experiments.evaluation.metrics import balanced_log_loss
from asd_experiments.training.module import rate_factor


@pytest.mark.parametrize("total_steps", range(1, 31))
def test_the_rate_rises_to_its_peak_and_falls_whatever_the_number_of_steps(total_steps):
    factors = [
        rate_factor(step, total_steps=total_steps, warm_up=0.1) for step in range(total_steps + 1)
    ]
    assert max(factors) == 1 and min(factors) >= 0
    assert factors[factors.index(1) :] == sorted(factors[factors.index(1) :], reverse=True)


def test_the_balanced_loss_counts_each_class_the_same():
    table = pd.DataFrame(
        {
            "label": ["a", "a", "a", "b"],
            "probability_a": [0.5, 0.5, 0.5, 0.75],
            "probability_b": [0.5, 0.5, 0.5, 0.25],
        }
    )
    assert balanced_log_loss(table, ["a", "b"]) == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_a_certain_mistake_costs_much_but_not_everything():
    table = pd.DataFrame({"label": ["a"], "probability_a": [0.0], "probability_b": [1.0]})
    assert np.isfinite(balanced_log_loss(table, ["a", "b"]))
    assert balanced_log_loss(table, ["a", "b"]) > 10
