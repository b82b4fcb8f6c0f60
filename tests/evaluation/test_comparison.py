from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from asd_experiments.evaluation.cases import Cases, Predictions
from asd_experiments.evaluation.comparison import (
    COMPARED_METRICS,
    check_same_patients,
    delong,
    difference,
    holm,
    mcnemar,
    permutation_p,
)
from asd_experiments.evaluation.predictions import select_units

from .builders import CLASSES, THREE, random_table, two_class_table

# Albumin, total protein, K-G score and outcome of 43 patients with ovarian cancer: DeLong, DeLong
# and Clarke-Pearson 1988, as printed in the SAS/STAT guide, LOGISTIC procedure, example "Comparing
# Receiver Operating Characteristic Curves".
OVARIAN = """
3.0 5.8 10 0  3.2 6.3  5 1  3.9 6.8  3 1  2.8 4.8  6 0  3.2 5.8  3 1  0.9 4.0  5 0  2.5 5.7  8 0
1.6 5.6  5 1  3.8 5.7  5 1  3.7 6.7  6 1  3.2 5.4  4 1  3.8 6.6  6 1  4.1 6.6  5 1  3.6 5.7  5 1
4.3 7.0  4 1  3.6 6.7  4 0  2.3 4.4  6 1  4.2 7.6  4 0  4.0 6.6  6 0  3.5 5.8  6 1  3.8 6.8  7 1
3.0 4.7  8 0  4.5 7.4  5 1  3.7 7.4  5 1  3.1 6.6  6 1  4.1 8.2  6 1  4.3 7.0  5 1  4.3 6.5  4 1
3.2 5.1  5 1  2.6 4.7  6 1  3.3 6.8  6 0  1.7 4.0  7 0  3.7 6.1  5 1  3.3 6.3  7 1  4.2 7.7  6 1
3.5 6.2  5 1  2.9 5.7  9 0  2.1 4.8  7 1  2.8 6.2  8 0  4.0 7.0  7 1  3.3 5.7  6 1  3.7 6.9  5 1
3.6 6.6  5 1
"""


def patients(labels: np.ndarray, scores: np.ndarray) -> Cases:
    table = two_class_table(
        [
            (0, f"p{i:03}", "ASD" if label else "non-ASD", score)
            for i, (label, score) in enumerate(zip(labels, scores, strict=True))
        ]
    )
    return Cases(select_units(table, "test", "patient"), CLASSES, "ASD", {0: 0.5})


def trial(seed: int, unit: str = "patient", classes: list[str] = CLASSES, **options) -> Cases:
    table = random_table(classes, options.pop("num_patients", 40), 1.0, seed, **options)
    return Predictions(table, classes, "ASD").cases("test", unit)


def wins_of(cases: Cases) -> np.ndarray:
    """Every positive against every negative, one by one."""
    scores, positive = cases.probabilities[:, cases.positive], cases.truth == cases.positive
    first, second = scores[positive][:, None], scores[~positive][None, :]
    return (first > second) + 0.5 * (first == second)


class TestSamePatients:
    def test_names_up_to_three_patients_that_only_one_trial_has(self):
        cases = trial(0)
        fewer = cases.where(np.arange(len(cases)) >= 5)
        with pytest.raises(
            ValueError, match=r"same patients; in one alone: p0, p1, p10 and 2 more$"
        ):
            check_same_patients(cases, fewer)
        with pytest.raises(ValueError, match=r"in one alone: p0$"):
            check_same_patients(cases.where(np.arange(len(cases)) >= 1), cases)

    def test_refuses_other_labels_groups_and_classes(self):
        cases = trial(0)
        other_label = replace(cases, rows=cases.rows.assign(label="ASD"))
        with pytest.raises(ValueError, match=r"the same label in both: .* and 17 more$"):
            check_same_patients(cases, other_label)
        with pytest.raises(ValueError, match="the same group in both: p0, "):
            check_same_patients(cases, replace(cases, rows=cases.rows.assign(group="site")))
        with pytest.raises(ValueError, match=r"got \['ASD', 'non-ASD'\] \(ASD\) and .*non-ASD\)"):
            check_same_patients(cases, replace(cases, positive_class="non-ASD"))


class TestDifference:
    @pytest.mark.parametrize("metric", COMPARED_METRICS)
    @pytest.mark.parametrize("classes", [CLASSES, THREE])
    def test_a_trial_does_not_differ_from_itself(self, metric, classes):
        cases = trial(0, "clip", classes)
        assert difference(cases, cases, metric, num_resamples=50) == (0.0, (0.0, 0.0))

    @pytest.mark.parametrize("metric", COMPARED_METRICS)
    def test_swapping_the_trials_changes_the_sign(self, metric):
        one, other = trial(0), trial(1)
        value, (low, high) = difference(one, other, metric, num_resamples=200)
        swapped = difference(other, one, metric, num_resamples=200)
        assert low <= value <= high
        assert swapped.value == pytest.approx(-value)
        assert swapped.interval == pytest.approx((-high, -low))

    @pytest.mark.parametrize("metric", COMPARED_METRICS)
    def test_repeated_clips_add_no_certainty(self, metric):
        one, other = trial(0, "clip"), trial(1, "clip")
        repeated = [
            replace(c, rows=pd.concat([c.rows] * 3, ignore_index=True)) for c in (one, other)
        ]
        once = difference(one, other, metric, num_resamples=100)
        again = difference(*repeated, metric, num_resamples=100)
        assert again.value == pytest.approx(once.value)
        assert again.interval == pytest.approx(once.interval)

    def test_pairing_removes_what_is_hard_about_the_patients(self):
        rng = np.random.default_rng(0)
        labels = np.arange(120) % 3 > 0
        common = rng.normal(labels * 1.2, 1)
        close = [patients(labels, norm.cdf(common + rng.normal(0, 0.1, 120))) for _ in range(2)]
        apart = [patients(labels, norm.cdf(rng.normal(labels * 1.2, 1))) for _ in range(2)]
        widths = [np.ptp(difference(*pair, "auroc").interval) for pair in (close, apart)]
        assert widths[0] < 0.3 * widths[1]

    def test_interval_agrees_with_that_of_delong(self):
        rng = np.random.default_rng(1)
        labels = np.arange(300) % 3 > 0
        common = rng.normal(0, 1, 300)
        one, other = (
            patients(labels, norm.cdf((labels + common + rng.normal(0, 1, 300)) / 2))
            for _ in range(2)
        )
        by_win = wins_of(one) - wins_of(other)
        error = np.sqrt(
            by_win.mean(axis=1).var(ddof=1) / labels.sum()
            + by_win.mean(axis=0).var(ddof=1) / (~labels).sum()
        )
        found = difference(one, other, "auroc")
        assert found.value == pytest.approx(by_win.mean())
        expected = (found.value - 1.96 * error, found.value + 1.96 * error)
        assert found.interval == pytest.approx(expected, abs=0.01)

    def test_trials_with_different_clips_can_be_compared(self):
        found = difference(trial(0, "clip"), trial(0, "clip", clips=2), "auroc", num_resamples=50)
        assert found.interval.low < found.value < found.interval.high

    def test_two_trials_without_a_fault_are_not_certainly_equal(self):
        labels = np.arange(12) % 2 == 0
        one, other = patients(labels, 0.1 + 0.8 * labels), patients(labels, 0.2 + 0.7 * labels)
        assert difference(one, other, "auroc") == (0.0, None)
        assert difference(one, other, "accuracy") == (0.0, None)
        assert difference(one, other, "brier").interval is None

    def test_needs_two_groups_of_every_class_and_a_defined_metric(self):
        labels = np.array([True, True, True, False])
        one, other = (
            patients(labels, np.array([0.9, 0.4, 0.6, 0.5])),
            patients(labels, labels * 0.8),
        )
        assert difference(one, other, "auroc") == (pytest.approx(-1 / 3), None)
        positive = [c.where(labels) for c in (one, other)]
        assert difference(*positive, "auroc") is None
        assert difference(*positive, "accuracy").value == pytest.approx(-1 / 3)

    def test_bad_settings_are_refused(self):
        cases = trial(0)
        with pytest.raises(ValueError, match=r"level must be between 0 and 1, got 1\.5"):
            difference(cases, cases, "auroc", level=1.5)
        with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
            difference(cases, cases, "auroc", num_resamples=0)
        with pytest.raises(ValueError, match="unknown metric 'auc'"):
            difference(cases, cases, "auc")
        with pytest.raises(ValueError, match="same patients"):
            difference(cases, trial(0, num_patients=38), "auroc")


class TestDelong:
    def test_ovarian_cancer(self):
        albumin, protein, score, outcome = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4).T
        tests = [patients(outcome == 1, s) for s in (albumin / 10, protein / 10, 1 - score / 20)]
        areas = [wins_of(test).mean() for test in tests]
        assert areas == pytest.approx([0.7366, 0.6478, 0.7258], abs=5e-5)
        assert delong(tests[0], tests[2]) == pytest.approx(0.9102, abs=5e-5)
        assert delong(tests[1], tests[2]) == pytest.approx(0.4561, abs=5e-5)

    def test_placement_values_one_by_one(self):
        one, other = trial(0), trial(1)
        by_win = wins_of(one) - wins_of(other)
        variance = by_win.mean(axis=1).var(ddof=1) / by_win.shape[0]
        variance += by_win.mean(axis=0).var(ddof=1) / by_win.shape[1]
        expected = 2 * norm.sf(abs(by_win.mean()) / np.sqrt(variance))
        assert delong(one, other) == pytest.approx(expected)
        assert delong(other, one) == pytest.approx(expected)

    @pytest.mark.parametrize("mixed", [False, True])
    def test_clustered_clips_agree_with_a_jackknife_over_groups(self, mixed):
        one, other = (trial(seed, "clip", num_patients=160) for seed in (0, 1))
        if mixed:  # sites that hold both classes
            site = one.rows["patient_id"].str[1:].astype(int) // 2
            one, other = (
                replace(c, rows=c.rows.assign(group=site.astype(str))) for c in (one, other)
            )
        groups = one.rows["group"].to_numpy()
        left_out = np.array(
            [
                wins_of(one.where(groups != group)).mean()
                - wins_of(other.where(groups != group)).mean()
                for group in np.unique(groups)
            ]
        )
        count = len(left_out)
        error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
        z = (wins_of(one).mean() - wins_of(other).mean()) / error
        found = norm.isf(delong(one, other) / 2)
        assert found == pytest.approx(abs(z), rel=0.03)

    def test_repeated_clips_add_no_certainty(self):
        one, other = trial(0, "clip"), trial(1, "clip")
        repeated = [
            replace(c, rows=pd.concat([c.rows] * 4, ignore_index=True)) for c in (one, other)
        ]
        assert delong(*repeated) == pytest.approx(delong(one, other))

    def test_what_has_no_test(self):
        cases = trial(0)
        assert delong(cases, cases) == 1.0
        three = trial(0, classes=THREE)
        assert delong(three, three) is None
        labels = np.array([True, True, True, False])
        alone = patients(labels, labels * 0.8)
        assert delong(alone, alone) is None
        labels = np.arange(12) % 2 == 0
        perfect, blind = patients(labels, labels * 0.8), patients(labels, np.full(12, 0.5))
        assert delong(perfect, blind) is None


class TestMcnemar:
    def test_discordant_pairs_are_a_fair_coin(self):
        # Right alone: 1 of 10 for one trial, 9 for the other. By hand: 2 (1 + 10) / 2**10.
        labels = np.arange(30) % 2 == 0
        wrong = [np.arange(30) < 9, np.arange(30) == 29]
        one, other = (patients(labels, np.where(labels ^ w, 0.9, 0.1)) for w in wrong)
        assert mcnemar(one, other) == pytest.approx(22 / 1024)
        assert mcnemar(other, one) == pytest.approx(22 / 1024)

    def test_the_approval_of_a_prime_minister(self):
        # Agresti, Categorical Data Analysis, table 10.1: approve twice 794, disapprove twice 570,
        # changed their mind 150 and 86; the exact p is 3e-5.
        right = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [794, 150, 86, 570], axis=0).T
        labels = np.ones(1600, dtype=bool)
        one, other = (patients(labels, np.where(r, 0.9, 0.1)) for r in right)
        assert mcnemar(one, other) == pytest.approx(2 * binom.cdf(86, 236, 0.5))
        assert mcnemar(one, other) == pytest.approx(3.7e-5, abs=1e-5)

    def test_order_of_the_patients_does_not_matter(self):
        one, other = trial(0, num_patients=60), trial(1, num_patients=60)
        shuffled = replace(other, rows=other.rows.sample(frac=1, random_state=0))
        assert 0 < mcnemar(one, other) < 1
        assert mcnemar(one, shuffled) == mcnemar(one, other)

    def test_three_classes_are_right_or_wrong_too(self):
        cases = trial(0, classes=THREE)
        assert mcnemar(cases, cases) == 1.0

    def test_clips_have_no_test(self):
        assert mcnemar(trial(0, "clip"), trial(1, "clip")) is None


def test_holm_by_hand():
    # Sorted: 0.01 x 3, max(0.03, 0.02 x 2), max(0.04, 0.04 x 1).
    assert holm([0.04, None, 0.01, 0.02]) == [
        pytest.approx(0.04),
        None,
        pytest.approx(0.03),
        pytest.approx(0.04),
    ]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([None]) == [None]
    assert holm([]) == []


class TestPermutation:
    def test_few_labellings_by_hand(self):
        # Of the 20 ways to call three of six patients positive one has an AUROC of 1.
        cases = patients(np.array([True] * 3 + [False] * 3), np.array([9, 8, 7, 3, 2, 1]) / 10)
        assert permutation_p(cases, num_permutations=4000) == pytest.approx(1 / 20, abs=0.012)
        inverse = replace(
            cases,
            positive_class="non-ASD",
            rows=cases.rows.assign(**{"probability_non-ASD": cases.rows["probability_ASD"]}),
        )
        assert permutation_p(inverse, num_permutations=10) == 1.0

    @pytest.mark.parametrize("classes", [CLASSES, THREE])
    def test_a_good_trial_is_no_accident_and_a_blind_one_may_be(self, classes):
        assert permutation_p(trial(0, "clip", classes, num_patients=60)) < 0.01
        blind = Predictions(random_table(classes, 60, 0.0, 0), classes, "ASD").cases("test", "clip")
        assert permutation_p(blind) > 0.02
        assert permutation_p(blind, seed=1) != permutation_p(blind, seed=2)

    def test_one_shuffle_is_the_least(self):
        cases = trial(0)
        assert permutation_p(cases, num_permutations=1) in (0.5, 1.0)
        with pytest.raises(ValueError, match="num_permutations must be at least 1, got 0"):
            permutation_p(cases, num_permutations=0)

    def test_needs_every_class_and_groups_of_one_class(self):
        cases = trial(0)
        assert permutation_p(cases.where(cases.truth == 0)) is None
        sites = cases.rows.assign(group=(np.arange(len(cases)) // 4).astype(str))
        assert permutation_p(replace(cases, rows=sites)) is None
