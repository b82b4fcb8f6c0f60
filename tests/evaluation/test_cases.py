import numpy as np
import pytest

from asd_experiments.evaluation.cases import Predictions

from .builders import CLASSES, THREE, cases_of, random_table, two_class_table

ROWS = two_class_table(
    [(1, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.6), (0, "c", "ASD", 0.4), (1, "d", "ASD", 0.3)]
)


def test_every_case_is_decided_by_the_threshold_of_its_own_fold():
    cases = cases_of(ROWS, thresholds={0: 0.5, 1: 0.2})
    assert (len(cases), cases.positive) == (4, 0)
    assert cases.truth.tolist() == [0, 1, 0, 0]
    assert cases.probabilities[:, 0].tolist() == [0.9, 0.6, 0.4, 0.3]
    assert cases.decisions.tolist() == [0, 0, 1, 0]
    assert cases_of(ROWS, thresholds={0: 0.7, 1: 0.2}).decisions.tolist() == [0, 1, 1, 0]


def test_some_cases_are_judged_as_before():
    cases = cases_of(ROWS, thresholds={0: 0.5, 1: 0.2})
    some = cases.where(np.array([True, False, True, False]))
    assert some.rows["patient_id"].tolist() == ["a", "c"]
    assert some.decisions.tolist() == [0, 1]
    assert len(cases.where(np.zeros(4, dtype=bool))) == 0


def test_folds_come_in_order_and_hold_all_cases_once():
    folds = list(cases_of(ROWS).by_fold())
    assert [fold for fold, _ in folds] == [0, 1]
    assert [own.rows["patient_id"].tolist() for _, own in folds] == [["b", "c"], ["a", "d"]]


def test_three_classes_have_no_positive_one_and_no_threshold():
    predictions = Predictions(random_table(THREE, 15, 1.0), THREE, "not used")
    cases = predictions.cases("test", "patient")
    assert cases.positive is None and predictions.thresholds == {}
    assert cases.decisions.tolist() == cases.probabilities.argmax(axis=1).tolist()


def test_thresholds_come_from_inner_validation_alone():
    table = random_table(CLASSES, 20, 1.0)
    predictions = Predictions(table, CLASSES, "ASD")
    assert sorted(predictions.thresholds) == [0, 1, 2, 3, 4]
    spoiled = table.assign(probability_ASD=table["probability_ASD"].where(table.split == "val", 0))
    assert Predictions(spoiled, CLASSES, "ASD").thresholds == predictions.thresholds
    assert predictions.cases("test", "video").thresholds == predictions.thresholds


def test_units_are_those_of_one_split():
    predictions = Predictions(random_table(CLASSES, 20, 1.0, clips=3), CLASSES, "ASD")
    sizes = {unit: len(predictions.cases("test", unit)) for unit in ("clip", "video", "patient")}
    assert sizes == {"clip": 60, "video": 20, "patient": 20}


def test_an_unknown_positive_class_is_refused():
    with pytest.raises(ValueError, match="unknown positive class 'AS'; choose one of: ASD"):
        _ = cases_of(ROWS, positive_class="AS").positive
