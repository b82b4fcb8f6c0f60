import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.subgroups import subgroup_columns, subgroup_table

from .builders import CLASSES, THREE, clip, random_table


def predictions(classes=CLASSES, num_patients: int = 40) -> Predictions:
    return Predictions(random_table(classes, num_patients, 1.0), classes, classes[0])


def videos_of(predictions: Predictions, **columns: object) -> pd.DataFrame:
    table = predictions.table.drop_duplicates("video")[["video", "patient_id", "label"]]
    return table.sort_values("patient_id", ignore_index=True).assign(**columns)


def row_of(table: pd.DataFrame, column: str, level: str) -> dict:
    (row,) = table[(table["column"] == column) & (table["level"] == level)].to_dict("records")
    return row


def test_all_patients_come_first_and_equal_the_pooled_metrics():
    judged = predictions()
    cases = judged.cases("test", "patient")
    (first,) = subgroup_table(judged, videos_of(judged)).to_dict("records")
    assert (first["level"], first["num_patients"], first["num_ASD"]) == ("all patients", 40, 20)
    positive = cases.truth == 0
    assert first["auroc"] == pytest.approx(roc_auc_score(positive, cases.probabilities[:, 0]))
    hits = int((cases.decisions[positive] == 0).sum())
    low, high = proportion_confint(hits, 20, method="wilson")
    assert first["sensitivity"] == hits / 20
    assert (first["sensitivity_ci_low"], first["sensitivity_ci_high"]) == pytest.approx((low, high))
    assert first["mean_probability_ASD"] == pytest.approx(cases.probabilities[:, 0].mean())


def test_levels_divide_the_patients_and_what_is_missing_is_one():
    judged = predictions()
    site = ["north", "south", "south", None] * 10
    table = subgroup_table(judged, videos_of(judged, site=site))
    own = table[table["column"] == "site"]
    assert own["level"].tolist() == ["north", "south", "missing"]
    assert own["num_patients"].tolist() == [10, 20, 10]
    assert own[["num_ASD", "num_non-ASD"]].sum().tolist() == [20, 20]
    accuracy = np.average(own["accuracy"], weights=own["num_patients"])
    assert accuracy == pytest.approx(table["accuracy"].iloc[0])


def test_a_patient_is_judged_by_the_videos_of_the_level_alone():
    rows = [
        clip(0, "val", "v1", "ASD", (0.9, 0.1)),
        clip(0, "val", "v2", "non-ASD", (0.1, 0.9)),
        clip(0, "test", "a", "ASD", (0.9, 0.1), video="a_front"),
        clip(0, "test", "a", "ASD", (0.2, 0.8), video="a_side"),
        clip(0, "test", "b", "non-ASD", (0.3, 0.7), video="b_front"),
        clip(0, "test", "b", "non-ASD", (0.4, 0.6), video="b_side"),
    ]
    judged = Predictions(pd.DataFrame(rows), CLASSES, "ASD")
    videos = pd.DataFrame({"video": [r["video"] for r in rows[2:]]})
    videos["view"] = videos["video"].str[2:]
    table = subgroup_table(judged, videos.assign(patient_id=["a", "a", "b", "b"]))
    front, side = row_of(table, "view", "front"), row_of(table, "view", "side")
    assert (front["num_patients"], side["num_patients"]) == (2, 2)
    assert (front["sensitivity"], side["sensitivity"]) == (1, 0)
    assert (front["auroc"], side["auroc"]) == (1, 0)


def test_a_disease_within_one_class_is_compared_to_all_of_the_other():
    judged = predictions()
    cases = judged.cases("test", "patient")
    videos = videos_of(judged)
    number = videos["patient_id"].str[1:].astype(int)
    names = np.where(number % 4 == 1, "DHS", "LCS")
    disease = np.where(videos["label"] == "ASD", "ASD", names)
    table = subgroup_table(judged, videos.assign(disease=disease))
    row = row_of(table, "disease", "DHS")
    assert (row["num_patients"], row["auroc_against"]) == (10, "all 20 ASD")
    assert np.isnan(row["sensitivity"]) and row["specificity"] == row["accuracy"]
    dhs = set(videos.loc[disease == "DHS", "patient_id"])
    kept = cases.rows[(cases.rows["label"] == "ASD") | cases.rows["patient_id"].isin(dhs)]
    assert row["auroc"] == pytest.approx(
        roc_auc_score(kept["label"] == "ASD", kept["probability_ASD"])
    )
    assert row_of(table, "", "all patients")["auroc_against"] == ""


def test_numbers_are_cut_into_thirds_and_few_values_are_levels():
    judged = predictions(num_patients=30)
    age = np.arange(41.0, 71.0)
    grade = np.tile([1.0, 2.0, np.nan], 10)
    table = subgroup_table(judged, videos_of(judged, age=age, grade=grade))
    ages, grades = table[table["column"] == "age"], table[table["column"] == "grade"]
    assert ages["level"].tolist() == ["41 to 50", "51 to 60", "61 to 70"]
    assert ages["num_patients"].tolist() == [10, 10, 10]
    assert grades["level"].tolist() == ["1", "2", "missing"]


def test_small_groups_are_shown_and_marked():
    judged = predictions()
    site = ["small"] * 4 + ["large"] * 36
    table = subgroup_table(judged, videos_of(judged, site=site))
    assert row_of(table, "site", "small")["is_small"]
    assert not row_of(table, "site", "large")["is_small"]


def test_columns_that_do_not_divide_the_patients_are_no_subgroups():
    videos = pd.DataFrame(
        {
            "video": [f"v{n}" for n in range(12)],
            "patient_id": [f"p{n}" for n in range(12)],
            "label": ["ASD"] * 6 + ["non-ASD"] * 6,
            "reader_1": ["yes", "no"] * 6,
            "remark": [f"remark {n}" for n in range(12)],
            "camera": ["one"] * 12,
            "empty": [None] * 12,
            "view": ["front", "side"] * 6,
            "age": range(12),
            "site": ["north", None] * 6,
        }
    )
    assert subgroup_columns(videos) == ["view", "age", "site"]


def test_three_classes_have_accuracy_and_auroc_alone():
    judged = predictions(THREE, 30)
    table = subgroup_table(judged, videos_of(judged, site=["north", "south", "west"] * 10))
    assert not {"sensitivity", "specificity"} & set(table.columns)
    assert {f"mean_probability_{name}" for name in THREE} <= set(table.columns)
    assert 0 < row_of(table, "", "all patients")["auroc"] < 1
    one = videos_of(judged)
    alone = subgroup_table(judged, one.assign(disease=one["label"]))
    row = row_of(alone, "disease", "DHS")
    assert np.isnan(row["auroc"]) and row["auroc_against"] == "" and row["num_DHS"] == 10


def test_thresholds_are_those_of_the_whole_validation():
    judged = predictions()
    north = ["north", "south"] * 20
    table = subgroup_table(judged, videos_of(judged, site=north))
    cases = judged.cases("test", "patient")
    videos = videos_of(judged, site=north).set_index("patient_id")["site"]
    inside = (cases.rows["patient_id"].map(videos) == "north").to_numpy()
    right = cases.where(inside).decisions == cases.where(inside).truth
    assert row_of(table, "site", "north")["accuracy"] == pytest.approx(right.mean())
