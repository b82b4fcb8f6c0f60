import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from asd_experiments.evaluation.ranking import auroc_interval

from .builders import THREE, cases_of, random_table, two_class_table


def simulate(
    rng: np.random.Generator, num_groups: int, rows_per_group: int, effect: float
) -> pd.DataFrame:
    """Half of the groups are ASD; scores vary as much between groups as within them."""
    labels = np.repeat(np.arange(num_groups) % 2 == 0, rows_per_group)
    groups = np.repeat(np.arange(num_groups), rows_per_group)
    scores = effect * labels + rng.normal(0, 1, num_groups)[groups] + rng.normal(0, 1, len(groups))
    probability = norm.cdf(scores / 3)
    return pd.DataFrame(
        {
            "group": groups.astype(str),
            "label": np.where(labels, "ASD", "non-ASD"),
            "probability_ASD": probability,
            "probability_non-ASD": 1 - probability,
        }
    )


@pytest.mark.slow
def test_interval_covers_the_true_auroc_and_a_naive_clip_bootstrap_does_not():
    effect, repetitions = 1.2, 200
    truth = norm.cdf(effect / 2)  # difference of two scores of variance 2: SD 2
    rng = np.random.default_rng(0)
    covered, naive_covered, widths, naive_widths = 0, 0, [], []
    for seed in range(repetitions):
        rows = simulate(rng, 40, 8, effect)
        clips_alone = rows.assign(group=np.arange(len(rows)).astype(str))
        low, high = auroc_interval(cases_of(rows), num_resamples=300, seed=seed)
        naive = auroc_interval(cases_of(clips_alone), num_resamples=300, seed=seed)
        covered += low <= truth <= high
        naive_covered += naive.low <= truth <= naive.high
        widths.append(high - low)
        naive_widths.append(naive.high - naive.low)
    assert 0.90 <= covered / repetitions <= 0.98
    assert naive_covered / repetitions < 0.75
    assert np.mean(naive_widths) < 0.7 * np.mean(widths)


def test_one_row_per_group_agrees_with_the_delong_interval():
    rng = np.random.default_rng(3)
    rows = simulate(rng, 160, 1, 1.2)
    low, high = auroc_interval(cases_of(rows))
    positive = rows.loc[rows["label"] == "ASD", "probability_ASD"].to_numpy()
    negative = rows.loc[rows["label"] != "ASD", "probability_ASD"].to_numpy()
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    error = np.sqrt(
        wins.mean(axis=1).var(ddof=1) / len(positive)
        + wins.mean(axis=0).var(ddof=1) / len(negative)
    )
    assert (low, high) == pytest.approx(
        (wins.mean() - 1.96 * error, wins.mean() + 1.96 * error), abs=0.015
    )


def test_repeating_every_clip_adds_no_certainty():
    rows = simulate(np.random.default_rng(1), 40, 3, 1.0)
    repeated = pd.concat([rows] * 5, ignore_index=True)
    once = auroc_interval(cases_of(rows))
    assert auroc_interval(cases_of(repeated)) == pytest.approx(once)


def test_two_groups_of_each_class_by_hand():
    rows = two_class_table(
        [
            (0, "a", "ASD", 0.4),
            (0, "b", "ASD", 0.2),
            (0, "c", "non-ASD", 0.3),
            (0, "d", "non-ASD", 0.1),
        ]
    )
    # Wins: a beats c and d, b beats d alone. Of the 16 draws the lowest is {b b, c c}: 0, the
    # highest {a a, ...} or {b b, d d}: 1; each has a probability above 2.5 %.
    assert auroc_interval(cases_of(rows)) == (0.0, 1.0)
    # The draws are at most 0.5 with probability 5/16, at most 0.75 with 9/16.
    narrow = auroc_interval(cases_of(rows), level=0.1)
    assert narrow == (0.75, 0.75)


def test_groups_with_several_classes_are_drawn_whole():
    rows = simulate(np.random.default_rng(2), 60, 2, 1.0)
    sites = rows.assign(group=[str(index // 2 % 12) for index in range(len(rows))])
    sites.loc[::7, "group"] = "0"
    assert sites.groupby("group")["label"].nunique().max() == 2
    members = list(sites.groupby("group").indices.values())
    labels, scores = (sites["label"] == "ASD").to_numpy(), sites["probability_ASD"].to_numpy()
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(800):
        drawn = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        draws.append(roc_auc_score(labels[drawn], scores[drawn]))
    expected = np.quantile(draws, [0.025, 0.975])
    assert auroc_interval(cases_of(sites)) == pytest.approx(tuple(expected), abs=0.02)


def test_draws_that_lack_a_class_are_left_out():
    rows = two_class_table(
        [(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.5), (0, "c", "ASD", 0.4), (0, "d", "ASD", 0.3)]
    ).assign(group=["x", "x", "y", "z"])
    assert auroc_interval(cases_of(rows)) is None  # non-ASD in one group only
    rows = pd.concat([rows, rows.iloc[[1]].assign(group="y", probability_ASD=0.35)])
    low, high = auroc_interval(cases_of(rows))
    assert 0 <= low < high <= 1


def test_useless_draws_give_no_interval():
    rows = two_class_table(
        [
            (0, "a", "ASD", 0.2),
            (0, "b", "ASD", 0.9),
            (0, "c", "non-ASD", 0.5),
            (0, "d", "non-ASD", 0.1),
        ]
    ).assign(group=["x", "y", "x", "z"])
    intervals = [auroc_interval(cases_of(rows), num_resamples=2, seed=s) for s in range(40)]
    assert None in intervals  # only y, or only z, was drawn
    assert any(interval is not None for interval in intervals)


@pytest.mark.parametrize("num_each", [2, 12, 100])
def test_perfect_separation_is_not_certainty(num_each):
    cases = [(0, f"a{i}", "ASD", 0.9) for i in range(num_each)]
    cases += [(0, f"b{i}", "non-ASD", 0.1) for i in range(num_each)]
    rows = two_class_table(cases)
    low, high = auroc_interval(cases_of(rows))
    assert high == 1.0
    # Newcombe 2006: 1 - low equals 1.96 standard errors at low.
    excess = num_each - 1
    spread = 1 + excess * ((1 - low) / (2 - low) + low / (1 + low))
    error = np.sqrt(low * (1 - low) * spread) / num_each
    assert 1 - low == pytest.approx(1.959964 * error, rel=1e-5)
    assert auroc_interval(cases_of(rows, positive_class="non-ASD")) == pytest.approx((low, high))
    reversed_rows = rows.assign(label=rows["label"].map({"ASD": "non-ASD", "non-ASD": "ASD"}))
    assert auroc_interval(cases_of(reversed_rows)) == pytest.approx((0.0, 1 - low))


def test_three_classes_have_an_interval_of_the_macro_average():
    rows = random_table(THREE, 60, 1.0)
    rows = rows[rows["split"] == "test"]
    low, high = auroc_interval(cases_of(rows, THREE))
    assert 0.5 < low < high < 1
    assert auroc_interval(cases_of(rows[rows["label"] != "LCS"], THREE)) is None


def test_same_seed_same_interval():
    rows = simulate(np.random.default_rng(4), 30, 2, 1.0)
    assert auroc_interval(cases_of(rows)) == auroc_interval(cases_of(rows))
    assert auroc_interval(cases_of(rows)) != auroc_interval(cases_of(rows), seed=1)


def test_the_published_size_is_fast():
    rows = simulate(np.random.default_rng(5), 81, 24, 1.0)
    auroc_interval(cases_of(rows), num_resamples=10)
    start = time.process_time()
    auroc_interval(cases_of(rows), num_resamples=2000)
    assert time.process_time() - start < 2


def test_bad_settings_are_refused():
    rows = two_class_table([(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.1)])
    with pytest.raises(ValueError, match=r"level must be between 0 and 1, got 1\.5"):
        auroc_interval(cases_of(rows), level=1.5)
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        auroc_interval(cases_of(rows), num_resamples=0)


def test_a_class_in_a_single_group_or_no_row_has_no_interval():
    rows = two_class_table([(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.1), (0, "c", "ASD", 0.7)])
    assert auroc_interval(cases_of(rows)) is None
    assert auroc_interval(cases_of(rows.iloc[:0])) is None
