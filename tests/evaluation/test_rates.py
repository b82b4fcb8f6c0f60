import numpy as np
import pytest

from asd_experiments.evaluation.bootstrap import draw_groups, group_numbers
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.confusion import confusion_counts
from asd_experiments.evaluation.metrics import metric_values
from asd_experiments.evaluation.rates import Confusions, confusions_of_groups, proportions
from asd_experiments.evaluation.uncertainty import metric_draws

from .builders import CLASSES, THREE, random_table


def test_the_matrices_of_all_groups_make_that_of_all_cases():
    cases = Predictions(random_table(THREE, 30, 1.0), THREE, "").cases("test", "clip")
    matrices = confusions_of_groups(cases)
    assert matrices.counts.shape == (30, 3, 3)
    assert (matrices.counts.sum(axis=(1, 2)) == 3).all()
    assert (matrices.counts.sum(axis=0) == confusion_counts(cases)).all()
    twice = matrices.weighted(np.full((1, 30), 2.0))
    assert (twice.counts[0] == 2 * confusion_counts(cases)).all()


def test_shares_are_told_with_what_they_are_of():
    matrix = Confusions(np.array([[[3.0, 1.0], [2.0, 4.0]]]), CLASSES, 0)
    parts = {name: (p.hits[0], p.total[0]) for name, p in proportions(matrix).items()}
    assert parts == {
        "accuracy": (7, 10),
        "sensitivity": (3, 4),
        "specificity": (4, 6),
        "ppv": (3, 5),
        "npv": (4, 5),
    }


@pytest.mark.parametrize("classes", [CLASSES, THREE])
def test_a_draw_is_what_its_copied_clips_would_give(classes):
    """Rows copied as often as their group was drawn, and judged one draw at a time."""
    cases = Predictions(random_table(classes, 30, 0.6), classes, "ASD").cases("test", "clip")
    weights = draw_groups(cases, 8, seed=1)
    draws = metric_draws(cases, weights)
    for number, weight in enumerate(weights):
        copies = np.repeat(np.arange(len(cases)), weight[group_numbers(cases)].astype(int))
        expected = metric_values(type(cases)(cases.rows.iloc[copies], *_settings(cases)))
        ours = {name: values[number] for name, values in draws.items() if name in expected}
        assert ours == pytest.approx({name: expected[name] for name in ours}, abs=1e-8)
        missing = draws.keys() - expected.keys()
        assert not np.isfinite([draws[name][number] for name in missing]).any()


def _settings(cases):
    return cases.classes, cases.positive_class, cases.thresholds
