import math

import numpy as np
import pandas as pd
import pytest

from asd_experiments.training.module import balanced_log_loss, clip_weights, rate_factor


def test_every_class_counts_the_same_and_every_patient_within_it():
    """Two ASD patients with 1 and 3 clips, one other with 2: each class weighs half."""
    clips = pd.DataFrame({"patient_id": list("abbbcc"), "label": ["ASD"] * 4 + ["other"] * 2})
    weights = clip_weights(clips, ["ASD", "other"])
    assert weights.tolist() == pytest.approx([1.5, 0.5, 0.5, 0.5, 1.5, 1.5])


@pytest.mark.parametrize("total_steps", range(1, 31))
def test_the_rate_rises_to_its_peak_and_falls_whatever_the_number_of_steps(total_steps):
    factors = [rate_factor(step, total_steps=total_steps) for step in range(total_steps + 1)]
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
