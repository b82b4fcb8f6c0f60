import pandas as pd

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.failures import misclassified_patients, worst_clips

from .builders import CLASSES, THREE, clip, random_table

# The thresholds, in the gaps of the validation: 0.5 in fold 0 and 0.75 in fold 1.
VALIDATION = [
    clip(0, "val", "v1", "ASD", (0.9, 0.1)),
    clip(0, "val", "v2", "non-ASD", (0.1, 0.9)),
    clip(1, "val", "v1", "ASD", (0.9, 0.1)),
    clip(1, "val", "v2", "non-ASD", (0.6, 0.4)),
]


def scored(fold: int, patient: str, label: str, *scores: float) -> list[dict[str, object]]:
    """Clips of one patient, two to a video, with their probability of ASD."""
    return [
        clip(
            fold,
            "test",
            patient,
            label,
            (score, 1 - score),
            video=f"{patient}_{number // 2}.mp4",
            start=25 * (number % 2),
        )
        for number, score in enumerate(scores)
    ]


def small() -> Predictions:
    test = [
        *scored(0, "right", "ASD", 0.9, 0.8),
        *scored(0, "unsure", "non-ASD", 0.7, 0.5),
        *scored(0, "sure", "non-ASD", 0.99, 0.95, 0.97, 0.9),
        *scored(1, "below_its_threshold", "ASD", 0.7),
    ]
    return Predictions(pd.DataFrame(VALIDATION + test), CLASSES, "ASD")


def test_misclassified_patients_come_most_confident_first():
    table = misclassified_patients(small())
    assert table["patient_id"].tolist() == ["sure", "unsure", "below_its_threshold"]
    assert table.columns.tolist() == [
        *("fold", "patient_id", "label", "decision"),
        *("probability_ASD", "probability_non-ASD", "threshold", "num_clips"),
    ]
    first, _, last = table.to_dict("records")
    assert (first["label"], first["decision"], first["num_clips"]) == ("non-ASD", "ASD", 4)
    assert (last["decision"], last["threshold"], last["fold"]) == ("non-ASD", 0.75, 1)


def test_worst_clips_are_three_each_in_the_order_of_their_patients():
    table = worst_clips(small())
    assert table["patient_id"].tolist() == ["sure"] * 3 + ["unsure"] * 2 + ["below_its_threshold"]
    assert table["rank"].tolist() == [1, 2, 3, 1, 2, 1]
    assert table["probability_ASD"].tolist() == [0.99, 0.97, 0.95, 0.7, 0.5, 0.7]
    assert table["video"].tolist()[:2] == ["sure_0.mp4", "sure_1.mp4"]
    assert table["clip_start_seconds"].tolist()[:3] == [0, 0, 1]


def test_the_number_of_clips_can_be_chosen():
    assert worst_clips(small(), num_clips=1)["rank"].tolist() == [1, 1, 1]


def test_three_classes_have_no_threshold():
    predictions = Predictions(random_table(THREE, 30, 0.5), THREE, "ASD")
    table = misclassified_patients(predictions)
    assert len(table) > 3 and "threshold" not in table.columns
    true = [row[f"probability_{row['label']}"] for row in table.to_dict("records")]
    assert true == sorted(true)
    assert (table["label"] != table["decision"]).all()


def test_a_faultless_model_has_empty_tables_with_their_columns():
    right = [*scored(0, "a", "ASD", 0.9), *scored(1, "b", "non-ASD", 0.1)]
    predictions = Predictions(pd.DataFrame(VALIDATION + right), CLASSES, "ASD")
    for table in (misclassified_patients(predictions), worst_clips(predictions)):
        assert table.empty and "patient_id" in table.columns
