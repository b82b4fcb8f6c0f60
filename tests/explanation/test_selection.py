import pandas as pd
import pytest

from asd_experiments.errors import InputError
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.explanation.selection import choose_clips, choose_patients, judged_patients
from tests.evaluation.builders import CLASSES, THREE, clip, two_class_table

TEST = [
    (0, "sure and right", "ASD", 0.95),
    (0, "unsure and right", "ASD", 0.45),
    (0, "unsure and wrong", "non-ASD", 0.5),
    (0, "sure and wrong", "ASD", 0.01),
    (1, "right by its fold", "non-ASD", 0.7),
]
VALIDATION = [  # the thresholds become 0.4 and 0.8
    *((0, "v0", "ASD", 0.6), (0, "v1", "non-ASD", 0.2)),
    *((1, "v2", "ASD", 0.9), (1, "v3", "non-ASD", 0.7)),
]


@pytest.fixture
def predictions():
    table = pd.concat([two_class_table(TEST), two_class_table(VALIDATION, "val")])
    return Predictions(table.reset_index(drop=True), CLASSES, "ASD")


def choose(patients, chosen=(), count=None):
    rows = choose_patients(patients, chosen=chosen, count=count, default_count=4)
    return rows["patient_id"].tolist()


def test_the_confidently_wrong_come_first_and_then_the_confidently_right(predictions):
    patients = judged_patients(predictions)
    assert patients["patient_id"].tolist() == [
        "sure and wrong",
        "unsure and wrong",
        "sure and right",
        "right by its fold",
        "unsure and right",
    ]
    assert patients["wrong"].tolist() == [True, True, False, False, False]
    assert patients["decision"].tolist()[:2] == ["non-ASD", "ASD"]
    # Distance from the threshold of the fold.
    assert patients["confidence"].tolist() == pytest.approx([0.39, 0.1, 0.55, 0.1, 0.05])


def test_of_three_classes_the_most_probable_decides():
    cases = [("p0", "ASD", (0.2, 0.7, 0.1)), ("p1", "DHS", (0.1, 0.5, 0.4))]
    cases += [("p2", "LCS", (0.6, 0.3, 0.1))]
    table = pd.DataFrame(
        [clip(0, "test", p, label, scores, classes=THREE) for p, label, scores in cases]
    )
    patients = judged_patients(Predictions(table, THREE, "ASD"))
    assert patients[["patient_id", "decision"]].to_numpy().tolist() == [
        ["p0", "DHS"],
        ["p2", "ASD"],
        ["p1", "DHS"],
    ]
    assert patients["confidence"].tolist() == pytest.approx([0.7, 0.6, 0.5])


def test_patients_are_named_or_counted(predictions):
    patients = judged_patients(predictions)
    assert choose(patients, ["unsure and right", "sure and wrong"]) == [
        "unsure and right",
        "sure and wrong",
    ]
    assert choose(patients, count=1) == ["sure and wrong"]
    assert len(choose(patients)) == 4
    assert len(choose(patients.head(2))) == 2  # fewer than the default is no mistake


def test_unknown_patients_are_all_named_with_close_ones(predictions):
    patients = judged_patients(predictions)
    with pytest.raises(InputError, match=r"2 problems with patients") as error:
        choose(patients, ["sure and rihgt", "sure and right", "v0"])
    assert "unknown patient 'sure and rihgt'" in str(error.value)
    assert "did you mean 'sure and right'?" in str(error.value)
    assert "unknown patient 'v0': the trial tested none of that name" in str(error.value)


def test_more_patients_than_there_are(predictions):
    with pytest.raises(InputError, match=r"count must be at most .*\(5\), got 6"):
        choose(judged_patients(predictions), count=6)


def test_the_clips_that_speak_most_for_the_decision():
    scores = {0: 0.2, 16: 0.9, 32: 0.6}
    rows = [clip(0, "test", "p", "non-ASD", (s, 1 - s), start=k) for k, s in scores.items()]
    rows += [
        clip(0, "val", v, c, (s, 1 - s)) for v, c, s in (("a", "ASD", 0.6), ("b", "non-ASD", 0.4))
    ]
    rows += [clip(1, "val", "p", "non-ASD", (0.99, 0.01))]  # of another fold: not looked at
    predictions = Predictions(pd.DataFrame(rows), CLASSES, "ASD")
    patients = judged_patients(predictions)
    clips = choose_clips(patients, predictions, 2)
    assert clips["clip_start"].tolist() == [16, 32]
    assert clips["probability"].tolist() == [0.9, 0.6]
    assert set(clips["decision"]) == {"ASD"} and clips["wrong"].all()
    assert len(choose_clips(patients, predictions, 9)) == 3
