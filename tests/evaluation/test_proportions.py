import math

import pytest
from statsmodels.stats.proportion import proportion_confint

from asd_experiments.evaluation.proportions import likelihood_ratio_intervals, wilson_interval


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_newcombe(hits, total, low, high):
    """Newcombe 1998, table I, method 3."""
    assert wilson_interval(hits, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_agrees_with_statsmodels(level):
    expected = proportion_confint(54, 81, alpha=1 - level, method="wilson")
    assert wilson_interval(54, 81, level) == pytest.approx(expected)


def test_certainty_is_never_complete():
    low, high = wilson_interval(12, 12)
    # All of n: n / (n + z squared)
    assert (low, high) == pytest.approx((12 / (12 + 1.959964**2), 1))


def test_likelihood_ratios_agree_with_a_published_example():
    """Scott et al. 2008, table 1, as epiR's `epi.tests` gives it: 3.75 (3.32 to 4.24)."""
    positive, negative = likelihood_ratio_intervals(
        true_positive=670, false_positive=202, false_negative=74, true_negative=640
    )
    assert positive == pytest.approx((3.32, 4.24), abs=5e-3)
    assert negative == pytest.approx((0.11, 0.16), abs=5e-3)


def test_likelihood_ratios_are_in_the_middle_of_their_intervals_on_a_log_scale():
    counts = {"true_positive": 40, "false_positive": 8, "false_negative": 14, "true_negative": 19}
    positive, negative = likelihood_ratio_intervals(**counts)
    assert math.sqrt(math.prod(positive)) == pytest.approx((40 / 54) / (8 / 27))
    assert math.sqrt(math.prod(negative)) == pytest.approx((14 / 54) / (19 / 27))
    wider, _ = likelihood_ratio_intervals(**counts, level=0.99)
    assert wider.low < positive.low < positive.high < wider.high


def test_an_empty_cell_leaves_no_interval():
    counts = {"true_positive": 5, "false_positive": 0, "false_negative": 1, "true_negative": 4}
    assert likelihood_ratio_intervals(**counts).positive is None
    assert likelihood_ratio_intervals(**counts).negative is not None
    counts |= {"false_positive": 1, "false_negative": 0}
    assert likelihood_ratio_intervals(**counts).positive is not None
    assert likelihood_ratio_intervals(**counts).negative is None
    nobody = dict.fromkeys(counts, 0)
    assert likelihood_ratio_intervals(**nobody) == (None, None)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match=r"level must be between 0 and 1, got 2\.0"):
        wilson_interval(1, 2, 2.0)
    with pytest.raises(ValueError, match=r"level must be between 0 and 1, got 0\.0"):
        likelihood_ratio_intervals(
            true_positive=1, false_positive=1, false_negative=1, true_negative=1, level=0.0
        )
