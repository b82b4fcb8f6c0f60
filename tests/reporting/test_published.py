"""The code that makes the table prints the published numbers from predictions that have them."""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.config import AblationConfig
from asd_experiments.reporting.ablation import ablation
from asd_experiments.reporting.published import METHODS, READERS

from .builders import log_trial

CLASSES, POSITIVE = ["ASD", "non_ASD"], "non_ASD"
NUM_CLIPS = 10_000  # so that every accuracy of four digits is a number of clips
NUM_POSITIVE = 4660
PATIENTS = [f"n{number}" for number in range(27)] + [f"a{number}" for number in range(54)]


def clips_with(accuracy: float, f1: float, auroc: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores that have these three figures at the threshold 0.5.

    The errors follow from accuracy, the true positives from F1. Of the pairs that the threshold
    does not decide (both above, or both below) so many are ranked right as AUROC needs.
    """
    errors = round(NUM_CLIPS * (1 - accuracy))
    true_positive = round(f1 * errors / (2 * (1 - f1)))
    false_negative = NUM_POSITIVE - true_positive
    false_positive = errors - false_negative
    negatives = NUM_CLIPS - NUM_POSITIVE
    true_negative = negatives - false_positive
    to_win = auroc * NUM_POSITIVE * negatives - true_positive * true_negative
    share = to_win / (true_positive * false_positive + false_negative * true_negative)
    first_above = round(share * true_positive)
    first_below, beaten_by_one = divmod(round(to_win - first_above * false_positive), true_negative)
    parts = [
        (True, 0.9, first_above),
        (True, 0.7, true_positive - first_above),
        (False, 0.8, false_positive),
        (True, 0.4, first_below),
        (True, 0.28, 1),
        (True, 0.2, false_negative - first_below - 1),
        (False, 0.25, beaten_by_one),
        (False, 0.3, true_negative - beaten_by_one),
    ]
    assert min(count for _, _, count in parts) >= 0
    labels = np.concatenate([np.full(count, label) for label, _, count in parts])
    scores = np.concatenate([np.full(count, score) for _, score, count in parts])
    return labels, scores


def table_with(accuracy: float, f1: float, auroc: float) -> pd.DataFrame:
    """Five folds of patients with these clips, and validation that sets the threshold to 0.5."""
    labels, scores = clips_with(accuracy, f1, auroc)
    rows = []
    counts: Counter[bool] = Counter()
    for label, score in zip(labels, scores, strict=True):
        own = PATIENTS[:27] if label else PATIENTS[27:]
        number = counts[label] % len(own)
        start = counts[label] // len(own)
        counts[label] += 1
        rows.append((number % 5, "test", own[number], start, label, score))
    for fold in range(5):
        for label, score in ((True, 0.6), (False, 0.4)):
            own = PATIENTS[:27] if label else PATIENTS[27:]
            rows.append((fold, "val", own[(fold + 1) % 5], 0, label, score))
    fold, split, patients, starts, labels, scores = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "fold": fold,
            "split": split,
            "group": patients,
            "patient_id": patients,
            "video": [f"{patient}.mp4" for patient in patients],
            "clip_start": starts,
            "clip_start_seconds": np.asarray(starts, dtype=float),
            "label": [CLASSES[int(label)] for label in labels],
            "probability_ASD": 1 - np.asarray(scores),
            "probability_non_ASD": scores,
        }
    )


def answers(true_positive: float, true_negative: float) -> list[str]:
    """A reader who is right so often about 27 patients without ASD and 54 with it."""
    said = []
    for right, total, yes, no in (
        (true_positive, 27, "yes", "no"),
        (true_negative, 54, "no", "yes"),
    ):
        whole, half = int(right), right % 1 > 0
        said += [yes] * whole + ["undecided"] * half + [no] * (total - whole - half)
    return said


def log_published() -> list[str]:
    runs = []
    for row in METHODS:
        fusion = "late_average" if row.optical_flow in (True, None) else "appearance_only"
        parameters = {
            "backbone": {"C": "cnn_lstm", "2": "resnet2d_50", "3": "slow_50"}[row.name[0]],
            "fusion": fusion,
            "segmentation": bool(row.segmentation),
        }
        table = table_with(**row.figures)
        videos = pd.DataFrame(
            {
                "patient_id": PATIENTS,
                "video": [f"{patient}.mp4" for patient in PATIENTS],
                "label": [CLASSES[patient.startswith("n")] for patient in PATIENTS],
                "reader_1": answers(17, 22),
                "reader_2": answers(16.5, 26),
            }
        )
        runs.append(
            log_trial(table, parameters, videos=videos, classes=CLASSES, positive_class=POSITIVE)
        )
    return runs


def figures_of(markdown: str, start: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith(f"| {start}")]
    assert lines
    return [re.findall(r"\| (?:\*\*)?(0\.\d{4})(?= [\[|])", line)[:3] for line in lines]


@pytest.mark.slow
def test_the_published_tables_come_out_of_predictions_that_have_their_figures(tracking):
    runs = ",".join(log_published())
    client = MlflowClient()
    of_clips = ablation(AblationConfig(runs=runs, unit="clip", digits=4))
    note = client.get_run(of_clips).data.tags["mlflow.note.content"]
    printed = sorted(
        figures_of(note, "slow_50") + figures_of(note, "resnet") + figures_of(note, "cnn")
    )
    assert printed == sorted([f"{value:.4f}" for value in row.figures.values()] for row in METHODS)
    of_patients = ablation(AblationConfig(runs=runs, unit="patient", digits=4))
    note = client.get_run(of_patients).data.tags["mlflow.note.content"]
    printed = figures_of(note, "reader 1") + figures_of(note, "reader 2")
    assert printed == [[f"{value:.4f}" for value in row.figures.values()] for row in READERS]
