import pandas as pd
import pytest

from asd_experiments.evaluation.metrics import metric_values
from asd_experiments.reporting.readers import reader_cases
from tests.evaluation.builders import CLASSES, THREE


def videos_of(answers: list[tuple[str, str, str]]) -> pd.DataFrame:
    rows = [{"patient_id": p, "label": label, "reader_a": said} for p, label, said in answers]
    return pd.DataFrame(rows)


def test_an_undecided_answer_is_half_a_yes_and_half_a_no():
    videos = videos_of(
        [
            *(("p1", "ASD", "yes"), ("p2", "ASD", "undecided")),
            *(("p3", "non-ASD", "no"), ("p4", "non-ASD", "yes")),
        ]
    )
    values = metric_values(reader_cases(videos, CLASSES, "ASD")["a"])
    assert values["sensitivity"] == pytest.approx(1.5 / 2)
    assert values["specificity"] == pytest.approx(1 / 2)
    assert values["accuracy"] == pytest.approx(2.5 / 4)
    assert values["f1"] == pytest.approx(2 * 1.5 / (2 * 1.5 + 1 + 0.5))
    assert values["auroc"] == pytest.approx((1.5 / 2 + 1 / 2) / 2)  # of decisions alone


def test_a_yes_is_about_the_positive_class():
    videos = videos_of([("p1", "ASD", "yes"), ("p2", "non-ASD", "no"), ("p3", "non-ASD", "no")])
    assert metric_values(reader_cases(videos, CLASSES, "ASD")["a"])["accuracy"] == 1
    assert metric_values(reader_cases(videos, CLASSES, "non-ASD")["a"])["accuracy"] == 0


def test_of_several_videos_the_majority_counts_and_a_tie_is_undecided():
    videos = videos_of(
        [
            *(("p1", "ASD", "yes"), ("p1", "ASD", "yes"), ("p1", "ASD", "no")),
            *(("p2", "non-ASD", "yes"), ("p2", "non-ASD", "no")),
        ]
    )
    values = metric_values(reader_cases(videos, CLASSES, "ASD")["a"])
    assert (values["sensitivity"], values["specificity"]) == (1, 0.5)


def test_patients_whom_a_reader_did_not_see_are_left_out():
    videos = videos_of([("p1", "ASD", "yes"), ("p2", "non-ASD", "no"), ("p3", "ASD", None)])
    videos["reader_b"] = None
    found = reader_cases(videos, CLASSES, "ASD")
    assert set(found) == {"a"}
    assert set(found["a"].rows["patient_id"]) == {"p1", "p2"}


def test_groups_are_those_of_the_models():
    videos = videos_of([("p1", "ASD", "yes"), ("p2", "non-ASD", "no")])
    rows = reader_cases(videos, CLASSES, "ASD", {"p1": "here", "p2": "there"})["a"].rows
    assert list(rows["group"]) == ["here", "here", "there", "there"]


def test_a_yes_says_nothing_of_three_classes():
    videos = videos_of([("p1", "ASD", "yes"), ("p2", "DHS", "no"), ("p3", "LCS", "no")])
    assert reader_cases(videos, THREE, "ASD") == {}
