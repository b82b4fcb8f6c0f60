import numpy as np
import pandas as pd
import pytest

from asd_experiments.evaluation.predictions import (
    aggregate,
    check_predictions,
    positive_index,
    select_units,
    true_classes,
)

from .builders import CLASSES, THREE, clip, random_table, two_class_table


@pytest.fixture
def table() -> pd.DataFrame:
    """Patient a has two videos of two clips and one; b has one clip."""
    return pd.DataFrame(
        [
            clip(0, "test", "b", "non-ASD", (0.1, 0.9)),
            clip(0, "test", "a", "ASD", (0.5, 0.5), video="a1", start=16),
            clip(0, "test", "a", "ASD", (0.9, 0.1), video="a1", start=0),
            clip(0, "test", "a", "ASD", (0.1, 0.9), video="a2", start=0),
            clip(1, "val", "a", "ASD", (0.2, 0.8), video="a1", start=0),
            clip(2, "val", "a", "ASD", (0.4, 0.6), video="a1", start=0),
        ]
    )


def test_patient_is_the_mean_over_all_its_clips_not_over_its_videos(table):
    rows = select_units(table, "test", "patient")
    assert rows["patient_id"].tolist() == ["a", "b"]
    assert rows["label"].tolist() == ["ASD", "non-ASD"]
    assert rows["group"].tolist() == ["a", "b"]
    assert rows["num_clips"].tolist() == [3, 1]
    # (0.5 + 0.9 + 0.1) / 3 = 0.5; the mean of the video means would be (0.7 + 0.1) / 2 = 0.4
    assert rows["probability_ASD"].tolist() == pytest.approx([0.5, 0.1])


def test_video_is_the_mean_over_its_clips(table):
    rows = select_units(table, "test", "video")
    assert rows["video"].tolist() == ["a1", "a2", "b.mp4"]
    assert rows["probability_ASD"].tolist() == pytest.approx([0.7, 0.1, 0.1])
    assert rows["num_clips"].tolist() == [2, 1, 1]


def test_clips_stay_and_are_sorted_by_time(table):
    rows = select_units(table, "test", "clip")
    assert rows["clip_start"].tolist() == [0, 16, 0, 0]
    assert rows["probability_ASD"].tolist() == [0.9, 0.5, 0.1, 0.1]


def test_a_patient_in_the_validation_of_two_folds_is_two_units(table):
    rows = select_units(table, "val", "patient")
    assert rows[["fold", "patient_id"]].to_numpy().tolist() == [[1, "a"], [2, "a"]]
    assert rows["probability_ASD"].tolist() == [0.2, 0.4]


def test_single_stream_scores_are_averaged_too(table):
    table["motion_ASD"] = [0.0, 0.2, 0.4, 0.9, 0.0, 0.0]
    table["note"] = "kept out"
    rows = aggregate(table, "patient")
    assert rows["motion_ASD"].tolist() == pytest.approx([0.5, 0.0, 0.0, 0.0])
    assert "note" not in rows.columns


def test_an_unknown_label_is_answered_with_the_choices(table):
    with pytest.raises(ValueError, match="unknown label 'ASD'; choose one of: DHS, LCS"):
        true_classes(table[table["label"] == "ASD"], ["DHS", "LCS"])


def test_positive_class_matters_for_two_classes_only():
    assert positive_index(CLASSES, "non-ASD") == 1
    assert positive_index(THREE, "anything") is None
    with pytest.raises(ValueError, match="unknown positive class 'DHS'; choose one of: ASD, non-"):
        positive_index(CLASSES, "DHS")


@pytest.mark.parametrize("classes", [CLASSES, THREE])
def test_a_sound_table_passes(classes):
    check_predictions(random_table(classes, 30, 1.0), classes)


def _set(column: str, value: object):
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype({column: object})
        table.loc[0, column] = value
        return table.infer_objects()

    return change


def _append(**changes: object):
    """Repeat the first row (fold 0, test, patient a) with changes."""
    return lambda table: pd.concat(
        [table, table.iloc[[0]].assign(**({"clip_start": 99} | changes))], ignore_index=True
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["group", "probability_ASD"]), "columns group, probability_ASD"),
        (lambda t: t.iloc[:0], "at least one row"),
        (_set("group", None), "group must not be empty, 1 rows are"),
        (_set("fold", 0.5), "fold must be an integer"),
        (_set("split", "train"), "split must be one of val, test, got train"),
        (_set("label", "DHS"), "label must be one of ASD, non-ASD, got DHS"),
        (_set("probability_ASD", np.nan), "between 0 and 1, in 1 rows"),
        (_set("probability_ASD", 1.5), "between 0 and 1, in 1 rows"),
        (_set("probability_ASD", 0.3), "sum to 1, in 1 rows"),
        (_append(clip_start=0), "a clip must stand once"),
        (_append(label="non-ASD"), "patient_id must have one label, 1 have"),
        (_append(group="x"), "patient_id must have one group, 1 have"),
        (_append(patient_id="x", group="x"), "video must have one patient_id, 1 have"),
        (_append(fold=1), "patient_id must be tested in one fold only, 1 are"),
        (_append(split="val"), "patient_id must not be in val and test of one fold, 1 are"),
        (
            _append(split="val", patient_id="x", video="x"),
            "group must not be in val and test of one fold, 1 are",
        ),
    ],
)
def test_what_would_falsify_metrics_is_refused(change, message):
    table = two_class_table([(0, "a", "ASD", 0.8), (0, "b", "non-ASD", 0.4)])
    check_predictions(table, CLASSES)
    with pytest.raises(ValueError, match=message):
        check_predictions(change(table), CLASSES)


def test_classes_must_be_two_different_names():
    with pytest.raises(ValueError, match="at least two different names"):
        check_predictions(two_class_table([(0, "a", "ASD", 0.8)]), ["ASD", "ASD"])
