"""Small prediction tables for the tests."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from asd_experiments.evaluation.cases import Cases, Predictions

CLASSES = ["ASD", "non-ASD"]
THREE = ["ASD", "DHS", "LCS"]
HALF = dict.fromkeys(range(5), 0.5)


def cases_of(
    rows: pd.DataFrame,
    classes: list[str] = CLASSES,
    positive_class: str = "ASD",
    thresholds: Mapping[int, float] = HALF,
) -> Cases:
    """Rows as they are, as cases."""
    return Cases(rows, classes, positive_class, thresholds)


def decided_at(
    thresholds: Mapping[int, float], table: pd.DataFrame, classes: list[str] = CLASSES
) -> Predictions:
    """Predictions whose thresholds are not chosen but given."""
    predictions = Predictions(table, classes, "ASD")
    vars(predictions)["thresholds"] = thresholds
    return predictions


def clip(
    fold: int,
    split: str,
    patient: str,
    label: str,
    probabilities: Sequence[float],
    *,
    video: str | None = None,
    start: int = 0,
    group: str | None = None,
    classes: list[str] = CLASSES,
) -> dict[str, object]:
    return {
        "fold": fold,
        "split": split,
        "group": group or patient,
        "patient_id": patient,
        "video": video or f"{patient}.mp4",
        "clip_start": start,
        "clip_start_seconds": start / 25,
        "label": label,
    } | {f"probability_{c}": p for c, p in zip(classes, probabilities, strict=True)}


def two_class_table(cases: Sequence[tuple[int, str, str, float]], split: str = "test"):
    """One clip per patient from (fold, patient, label, probability of ASD)."""
    return pd.DataFrame([clip(f, split, p, label, (s, 1 - s)) for f, p, label, s in cases])


def random_table(
    classes: list[str], num_patients: int, effect: float, seed: int = 0, clips: int = 3
) -> pd.DataFrame:
    """Five folds; patients of every class in every test and validation part, clips correlated."""
    rng = np.random.default_rng(seed)
    rows = []
    for fold in range(5):
        for index in range(num_patients):
            turn = (index // len(classes)) % 5
            split = {fold: "test", (fold + 1) % 5: "val"}.get(turn)
            if split is None:
                continue
            label = index % len(classes)
            walk = rng.normal(0, 1, len(classes)) + effect * np.eye(len(classes))[label]
            for start in range(0, 16 * clips, 16):
                odds = np.exp(walk + rng.normal(0, 0.5, len(classes)))
                rows.append(
                    clip(
                        fold,
                        split,
                        f"p{index}",
                        classes[label],
                        (odds / odds.sum()).tolist(),
                        start=start,
                        classes=classes,
                    )
                )
    return pd.DataFrame(rows)
