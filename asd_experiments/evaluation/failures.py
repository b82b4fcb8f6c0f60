"""Which patients are misclassified, how surely, and what the model saw in them."""

import pandas as pd

from asd_experiments.evaluation.cases import Cases, Predictions
from asd_experiments.evaluation.predictions import probability_columns

NUM_CLIPS = 3
"""Clips shown of every misclassified patient: enough to see whether the error has one cause."""


def misclassified_patients(predictions: Predictions) -> pd.DataFrame:
    """Test patients whose decision is wrong, the most confident error first.

    An error is the more confident the less probable the true class was called.

    Args:
        predictions: Prediction table of a trial.

    Returns:
        One row per patient: fold, patient_id, label, decision, `probability_<class>`, threshold
        (two classes) and num_clips.
    """
    cases = predictions.cases("test", "patient")
    wrong = cases.where(cases.decisions != cases.truth)
    table = wrong.rows.assign(decision=[wrong.classes[index] for index in wrong.decisions])
    columns = ["fold", "patient_id", "label", "decision", *probability_columns(cases.classes)]
    if cases.positive is not None:
        table["threshold"] = [cases.thresholds[int(fold)] for fold in table["fold"]]
        columns.append("threshold")
    return _least_true_first(wrong, table)[[*columns, "num_clips"]]


def worst_clips(predictions: Predictions, num_clips: int = NUM_CLIPS) -> pd.DataFrame:
    """Clips of the misclassified patients that argue most strongly for the wrong class.

    Args:
        predictions: Prediction table of a trial.
        num_clips: Most clips of one patient.

    Returns:
        Patients in the order of `misclassified_patients`, of each its worst clips, the worst
        first: fold, patient_id, label, rank (from 1), video, clip_start_seconds and
        `probability_<class>`.
    """
    patients = misclassified_patients(predictions)["patient_id"]
    clips = predictions.cases("test", "clip")
    clips = clips.where(clips.rows["patient_id"].isin(patients).to_numpy())
    table = _least_true_first(clips, clips.rows)
    table["rank"] = table.groupby("patient_id").cumcount() + 1
    place = {patient: number for number, patient in enumerate(patients)}
    table = table[table["rank"] <= num_clips].sort_values(
        "patient_id", key=lambda names: names.map(place), kind="stable", ignore_index=True
    )
    columns = ["fold", "patient_id", "label", "rank", "video", "clip_start_seconds"]
    return table[[*columns, *probability_columns(clips.classes)]]


def _least_true_first(cases: Cases, table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the probability of the true class; equal ones stay in theirs."""
    true = cases.probabilities[range(len(cases)), cases.truth]
    return table.iloc[true.argsort(kind="stable")].reset_index(drop=True)
