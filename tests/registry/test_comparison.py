import pytest

from asd_experiments.errors import InputError
from asd_experiments.evaluation.comparison import delong, difference, mcnemar
from asd_experiments.registry.comparison import compare_with_champion, judge, level_of
from tests.evaluation.builders import CLASSES
from tests.reporting.builders import predictions

from .builders import in_memory


@pytest.fixture(scope="module")
def weak():
    return in_memory(predictions(0.2, seed=1), "weak")


@pytest.fixture(scope="module")
def strong():
    return in_memory(predictions(1.6, seed=2), "strong")


def without(table, patients):
    return table[~table["patient_id"].isin(patients)].reset_index(drop=True)


def test_two_trials_are_compared_by_the_paired_statistics(weak, strong):
    found = compare_with_champion(strong, weak, ["brier"])
    own, other = (trial.predictions.cases("test", "patient") for trial in (strong, weak))
    assert list(found.figures) == ["auroc", "balanced_accuracy", "accuracy", "brier"]
    assert (found.num_patients, found.num_own, found.same_data) == (60, (60, 60), True)
    for metric, (first, second, between) in found.figures.items():
        expected = difference(own, other, metric)
        assert between.value == pytest.approx(expected.value)
        assert between.interval == pytest.approx(expected.interval)
        assert first.value - second.value == pytest.approx(expected.value)
    tests = {"auroc": delong(own, other), "accuracy": mcnemar(own, other)}
    for metric, p in tests.items():
        assert found.figures[metric][2].p == p
    assert found.figures["balanced_accuracy"][2].test == "paired bootstrap"


def test_trials_of_other_patients_are_compared_by_those_they_share(weak, strong):
    lost = [f"p{number:02d}" for number in range(9)]
    fewer = in_memory(without(strong.predictions.table, lost), "fewer", digest="other")
    found = compare_with_champion(fewer, weak)
    assert (found.num_patients, found.num_own, found.same_data) == (51, (51, 60), False)
    kept = weak.predictions.cases("test", "patient")
    kept = kept.where(~kept.rows["patient_id"].isin(lost).to_numpy())
    expected = difference(fewer.predictions.cases("test", "patient"), kept, "auroc")
    assert found.figures["auroc"][2].value == pytest.approx(expected.value)
    assert found.test_set != compare_with_champion(strong, weak).test_set


def test_half_of_the_patients_are_too_few_to_share(weak, strong):
    others = [f"p{number:02d}" for number in range(30)]
    fewer = in_memory(without(strong.predictions.table, others), "fewer")
    message = "share 30 test patients, of 30 and 60: too few"
    with pytest.raises(InputError, match=message):
        compare_with_champion(fewer, weak)


def test_other_classes_are_not_compared(weak, strong):
    swapped = in_memory(strong.predictions.table, "b", positive_class=CLASSES[1])
    message = r"tell ASD, non-ASD \(positive: non-ASD\) and ASD, non-ASD \(positive: ASD\) apart"
    with pytest.raises(InputError, match=message):
        compare_with_champion(swapped, weak)


def test_a_patient_with_two_labels_is_not_compared(weak, strong):
    table = strong.predictions.table.copy()
    assert (table.loc[table["patient_id"] == "p07", "label"] == CLASSES[0]).all()
    table.loc[table["patient_id"] == "p07", "label"] = CLASSES[1]
    with pytest.raises(InputError, match="must have the same label in both: p07"):
        compare_with_champion(in_memory(table, "b"), weak)


def test_a_rule_holds_where_the_lower_limit_is_beyond_its_bound(weak, strong):
    better, worse = compare_with_champion(strong, weak), compare_with_champion(weak, strong)
    low = better.interval(1).low
    assert low > 0
    assert judge(better, "superior", None, 1).holds
    assert not judge(worse, "superior", None, 1).holds
    lost = -worse.interval(1).low
    assert judge(worse, "non_inferior", lost + 0.001, 1).holds
    refused = judge(worse, "non_inferior", lost - 0.001, 1)
    assert not refused.holds and "does not hold" in refused.why and "95 % interval" in refused.why


def test_the_more_comparisons_the_more_a_rule_asks_for(weak, strong):
    better = compare_with_champion(strong, weak)
    first, tenth = better.interval(1), better.interval(10)
    assert level_of(1) == 0.95 and level_of(10) == pytest.approx(0.995)
    assert tenth.low < first.low and tenth.high > first.high
    worse = compare_with_champion(weak, strong)
    margin = -(worse.interval(1).low + worse.interval(10).low) / 2
    assert judge(worse, "non_inferior", margin, 1).holds
    assert not judge(worse, "non_inferior", margin, 10).holds


def test_what_never_differs_proves_nothing(strong):
    same = compare_with_champion(in_memory(strong.predictions.table, "twin"), strong)
    assert same.figures["auroc"][2].value == 0
    ruling = judge(same, "non_inferior", 0.1, 1)
    assert not ruling.holds and "too few patients tell the two apart" in ruling.why
