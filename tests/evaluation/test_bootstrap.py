import numpy as np
import pytest

from asd_experiments.evaluation.bootstrap import (
    classes_of_groups,
    draw_groups,
    group_numbers,
    percentile_interval,
)

from .builders import CLASSES, cases_of, random_table, two_class_table

CASES = cases_of(
    two_class_table(
        [
            (0, "b", "ASD", 0.9),
            (0, "a", "non-ASD", 0.1),
            (1, "d", "ASD", 0.8),
            (1, "c", "non-ASD", 0.4),
        ]
    )
)


def test_groups_are_numbered_by_name():
    assert group_numbers(CASES).tolist() == [1, 0, 3, 2]
    expected = [[False, True], [True, False], [False, True], [True, False]]
    assert classes_of_groups(CASES).tolist() == expected


def test_every_draw_keeps_the_number_of_groups_of_each_class():
    cases = cases_of(random_table(CLASSES, 40, 1.0))
    weights = draw_groups(cases, 200, seed=3)
    holds = classes_of_groups(cases)
    assert weights.shape == (200, 40)
    for column in holds.T:
        assert (weights[:, column].sum(axis=1) == column.sum()).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(40), abs=0.3)
    assert (draw_groups(cases, 200, seed=3) == weights).all()
    assert (draw_groups(cases, 200, seed=4) != weights).any()


def test_groups_of_several_classes_are_drawn_from_all():
    rows = random_table(CLASSES, 40, 1.0)
    rows["group"] = [str(int(name[1:]) // 2) for name in rows["patient_id"]]
    weights = draw_groups(cases_of(rows), 50)
    assert (weights.sum(axis=1) == 20).all()


def test_a_class_in_one_group_is_not_drawn():
    assert draw_groups(cases_of(CASES.rows.iloc[:3]), 10) is None
    assert draw_groups(cases_of(CASES.rows.iloc[:0]), 10) is None
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        draw_groups(CASES, 0)


def test_percentiles_by_hand():
    draws = np.append(np.arange(101.0), np.nan)
    assert percentile_interval(draws, 0.9) == pytest.approx((5, 95))


@pytest.mark.parametrize(
    "draws",
    [[], [np.nan], [0.5, 0.5, np.nan], [1.0, np.inf, np.inf], [1.0, 2.0, 3.0, np.inf]],
)
def test_what_does_not_vary_or_end_has_no_interval(draws):
    assert percentile_interval(np.array(draws, dtype=float), 0.95) is None


def test_rare_infinite_draws_do_no_harm():
    draws = np.append(np.linspace(1, 2, 999), np.inf)
    assert percentile_interval(draws, 0.95) == pytest.approx((1.025, 1.975), abs=2e-3)
