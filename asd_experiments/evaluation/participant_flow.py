"""How the videos in the labels became the clips of every fold: the flow that STARD asks for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

COLUMNS = ("stage", "fold", "label", "reason", "patients", "videos", "clips")
UNKNOWN = "unknown"
"""Class of a video that was left out, where the store does not tell it."""

SPLITS = ("train", "val", "test")


def participant_flow(
    table: pd.DataFrame, manifest: pd.DataFrame, failures: Sequence[Mapping[str, str]]
) -> pd.DataFrame:
    """Count patients, videos and clips from the labels file to the parts of every fold.

    Every patient is tested in one fold, so the test rows of the prediction table hold every video
    that was stored and every clip that was made of it.

    Args:
        table: Prediction table.
        manifest: The fold manifest: fold, split, patient_id and label.
        failures: The store's videos that could not be stored: reason, and label and patient_id
            where it tells them.

    Returns:
        One row per stage and class, with the columns stage, fold, label, reason, patients, videos
        and clips; empty where a count is not known or does not apply:

        - labels: all videos in the labels file;
        - excluded: videos that could not be stored, by reason; patients are those who have no
            other, and counted in the row of their first one;
        - stored: videos and the clips made of them;
        - train, val, test: what each fold used them for.

    References:
        STARD 2015, item 19, https://doi.org/10.1136/bmj.h5527.
    """
    test = table[table["split"] == "test"]
    stored = test.drop_duplicates("video")[["patient_id", "label"]]
    left_out = _left_out(failures, set(stored["patient_id"]))
    rows = [*_beginning(stored, test, left_out), *_parts(test, manifest)]
    flow = pd.DataFrame([{"reason": "", **row} for row in rows], columns=list(COLUMNS))
    return flow.astype(dict.fromkeys(("fold", "patients", "videos", "clips"), "Int64"))


def _left_out(failures: Sequence[Mapping[str, str]], kept: set[str]) -> pd.DataFrame:
    """One row per video that was not stored; `lost` marks the first one of a patient without any.

    `lost` is empty where a patient is not told.
    """
    columns = ["label", "reason", "patient_id"]
    found = pd.DataFrame(list(failures)).reindex(columns=columns)
    found = found.astype(object).fillna({"label": UNKNOWN})
    first = ~found.duplicated("patient_id") & ~found["patient_id"].isin(kept)
    found["lost"] = first.astype("boolean").where(found["patient_id"].notna())
    return found


def _beginning(
    stored: pd.DataFrame, test: pd.DataFrame, left_out: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    classes = sorted({*stored["label"], *left_out["label"]})
    patients = {name: stored.loc[stored["label"] == name, "patient_id"] for name in classes}
    for name in classes:
        lost = left_out.loc[left_out["label"] == name, "lost"]
        videos = len(patients[name]) + len(lost)
        known = None if lost.isna().any() else patients[name].nunique() + int(lost.sum())
        yield {"stage": "labels", "label": name, "patients": known, "videos": videos}
    for (name, reason), own in left_out.groupby(["label", "reason"], sort=True):
        known = None if own["lost"].isna().any() else int(own["lost"].sum())
        place = {"stage": "excluded", "label": name, "reason": reason}
        yield {**place, "patients": known, "videos": len(own)}
    for name in classes:
        yield {
            "stage": "stored",
            "label": name,
            "patients": patients[name].nunique(),
            "videos": len(patients[name]),
            "clips": int((test["label"] == name).sum()),
        }


def _parts(test: pd.DataFrame, manifest: pd.DataFrame) -> Iterator[dict[str, Any]]:
    of_patient = test.groupby("patient_id").agg(
        videos=("video", "nunique"), clips=("video", "size")
    )
    assigned = manifest.merge(of_patient, left_on="patient_id", right_index=True)
    classes = sorted(manifest["label"].unique())
    for fold in sorted(manifest["fold"].unique()):
        for split in SPLITS:
            for name in classes:
                chosen = (assigned["fold"] == fold) & (assigned["split"] == split)
                own = assigned[chosen & (assigned["label"] == name)]
                yield {
                    "stage": split,
                    "fold": fold,
                    "label": name,
                    "patients": len(own),
                    "videos": int(own["videos"].sum()),
                    "clips": int(own["clips"].sum()),
                }
