import math

import numpy as np
import pandas as pd
import pytest
import torch

from asd_experiments.training.module import balanced_log_loss, class_weights


def test_class_weights_count_patients_and_average_to_one():
    weights = class_weights(["ASD"] * 54 + ["other"] * 27, ["ASD", "other"])
    assert weights.tolist() == pytest.approx([2 / 3, 4 / 3])


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


def test_weights_are_for_the_loss_and_not_a_parameter():
    assert class_weights(["a", "b"], ["a", "b"]).requires_grad is False
    assert class_weights(["a", "b"], ["a", "b"]).dtype == torch.float32
