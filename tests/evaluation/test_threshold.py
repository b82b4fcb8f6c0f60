import numpy as np
import pandas as pd
import pytest

from asd_experiments.evaluation.predictions import select_units
from asd_experiments.evaluation.threshold import choose_threshold, choose_thresholds, decide

from .builders import CLASSES, THREE, clip, random_table, two_class_table


def choose(positive: list[float], negative: list[float]):
    labels = np.array([True] * len(positive) + [False] * len(negative))
    return choose_threshold(labels, np.array(positive + negative))


@pytest.mark.parametrize(
    ("positive", "negative", "threshold"),
    [
        ([0.7, 0.9], [0.1, 0.3], 0.5),  # separable: the middle of the gap
        ([0.30, 0.32], [0.10, 0.20], 0.25),  # 0.5 would miss both
        # J is 1/2 in the gaps 0.1-0.2 (1 + 1/2 - 1) and 0.4-0.8 (1/2 + 1 - 1): the wider one
        ([0.2, 0.8], [0.1, 0.4], 0.6),
        # J is 1/2 in 0.125-0.25 and 0.375-0.5, equally wide: 0.4375 is nearer 0.5 than 0.1875
        ([0.25, 0.5], [0.125, 0.375], 0.4375),
        # J is 1/2 in 0.25-0.375 and 0.625-0.75, equally wide and far: the lower
        ([0.375, 0.75], [0.25, 0.625], 0.3125),
        ([0.7, 0.7], [0.7, 0.7], 0.35),  # nothing learned: J is 0 in 0-0.7 and 0.7-1
        ([0.2], [0.9], 0.1),  # upside down: J is 0 at both ends, and 0-0.2 is the wider
        ([1.0], [0.0], 0.5),
        ([1.0], [1.0], 0.5),
    ],
)
def test_threshold_by_hand(positive, negative, threshold):
    chosen = choose(positive, negative)
    assert chosen.rule == "youden"
    assert chosen.value == pytest.approx(threshold)


def test_neighbouring_floats_are_still_separated():
    low = 0.3
    high = float(np.nextafter(low, 1))
    assert low < choose([high], [low]).value <= high


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_has_a_higher_youden_index(seed):
    rng = np.random.default_rng(seed)
    labels = rng.random(30) < 0.4
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2).round(2), 0, 1)

    def youden(threshold: float) -> float:
        positive = scores >= threshold
        return positive[labels].mean() - positive[~labels].mean()

    chosen = youden(choose_threshold(labels, scores).value)
    assert chosen == pytest.approx(max(youden(t) for t in np.linspace(0, 1.01, 2000)))


@pytest.mark.parametrize("label", [True, False])
def test_one_class_falls_back_to_a_half_and_says_so(label):
    chosen = choose_threshold(np.array([label, label]), np.array([0.1, 0.2]))
    assert chosen == (0.5, "single_class")


def test_impossible_input_is_refused():
    with pytest.raises(ValueError, match="at least one validation case, got none"):
        choose_threshold(np.empty(0, dtype=bool), np.empty(0))
    with pytest.raises(ValueError, match="between 0 and 1, got -1 to 2"):
        choose_threshold(np.array([True, False]), np.array([2.0, -1.0]))
    with pytest.raises(ValueError, match="between 0 and 1, got nan"):
        choose_threshold(np.array([True, False]), np.array([np.nan, 0.5]))


def test_each_fold_has_its_own_threshold_from_validation_patients_alone():
    table = pd.DataFrame(
        [
            clip(0, "val", "a", "ASD", (0.9, 0.1)),
            clip(0, "val", "b", "non-ASD", (0.5, 0.5)),
            clip(0, "test", "c", "ASD", (0.0, 1.0)),
            clip(0, "test", "d", "non-ASD", (1.0, 0.0)),
            clip(1, "val", "c", "ASD", (0.3, 0.7)),
            # The mean of d's clips is 0.2; its single clips lie on both sides of c's.
            clip(1, "val", "d", "non-ASD", (0.4, 0.6), start=0),
            clip(1, "val", "d", "non-ASD", (0.0, 1.0), start=16),
            clip(2, "val", "a", "ASD", (0.9, 0.1)),
        ]
    )
    chosen = choose_thresholds(table, CLASSES, "ASD")
    assert {fold: threshold.value for fold, threshold in chosen.items()} == pytest.approx(
        {0: 0.7, 1: 0.25, 2: 0.5}
    )
    assert chosen[2].rule == "single_class"
    # With the other class as the positive one the gaps are mirrored: 1 - 0.7 and 1 - 0.25.
    mirrored = choose_thresholds(table, CLASSES, "non-ASD")
    assert [mirrored[0].value, mirrored[1].value] == pytest.approx([0.3, 0.75])


def test_three_classes_have_no_threshold_and_take_the_most_probable():
    table = random_table(THREE, 15, 1.0)
    assert choose_thresholds(table, THREE, "ASD") == {}
    rows = select_units(table, "test", "clip")
    columns = [f"probability_{name}" for name in THREE]
    expected = rows[columns].idxmax(axis=1).str.removeprefix("probability_")
    assert [THREE[index] for index in decide(rows, THREE, "ASD", {})] == expected.tolist()


def test_a_score_equal_to_its_folds_threshold_is_positive():
    rows = two_class_table(
        [(0, "a", "ASD", 0.3), (0, "b", "ASD", 0.2), (1, "c", "ASD", 0.3), (1, "d", "ASD", 0.6)]
    )
    assert decide(rows, CLASSES, "ASD", {0: 0.3, 1: 0.6}).tolist() == [0, 1, 1, 0]
    with pytest.raises(ValueError, match="every fold needs a threshold, fold 1 has none"):
        decide(rows, CLASSES, "ASD", {0: 0.3})
