"""Which patients are explained, and which of their clips."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from asd_experiments.errors import InputError, all_problems, did_you_mean
from asd_experiments.evaluation.cases import Cases, Predictions
from asd_experiments.evaluation.predictions import PLAIN_COLUMNS, probability_columns


def judged_patients(predictions: Predictions) -> pd.DataFrame:
    """All tested patients, the worst first: confidently wrong ones, then confidently right ones.

    Returns:
        One row per patient: `fold`, `patient_id`, `label`, `decision`, `wrong`, and `confidence`:
        how far the probability lies beyond the threshold of the fold; of three or more classes,
        the probability of the class decided for.
    """
    cases = predictions.cases("test", "patient")
    classes = np.array(predictions.classes)
    patients = cases.rows[["fold", "patient_id", "label"]].assign(
        decision=classes[cases.decisions],
        wrong=cases.decisions != cases.truth,
        confidence=_confidence(cases),
    )
    return patients.sort_values(
        ["wrong", "confidence"], ascending=False, kind="stable", ignore_index=True
    )


def _confidence(cases: Cases) -> np.ndarray:
    if cases.positive is None:
        return np.asarray(cases.probabilities.max(axis=1))
    thresholds = cases.rows["fold"].map(dict(cases.thresholds)).to_numpy(dtype=np.float64)
    return np.asarray(np.abs(cases.probabilities[:, cases.positive] - thresholds))


def choose_patients(
    patients: pd.DataFrame, *, chosen: Sequence[str], count: int | None, default_count: int
) -> pd.DataFrame:
    """Choose patients by name, or the first ones.

    Args:
        patients: From `judged_patients`.
        chosen: Ids of patients; none: the first `count`.
        count: How many; None: `default_count`, or as many as there are.
        default_count: See `count`.

    Raises:
        InputError: If a patient is unknown, or there are not as many.
    """
    if chosen:
        known = [str(patient) for patient in patients["patient_id"]]
        problems = [
            f"unknown patient {patient!r}: the trial tested none of that name"
            + did_you_mean(patient, known)
            for patient in chosen
            if patient not in known
        ]
        if problems:
            raise InputError(all_problems("with patients", problems))
        places = [known.index(patient) for patient in chosen]
        return patients.iloc[places].reset_index(drop=True)
    if count is not None and count > len(patients):
        raise InputError(
            f"count must be at most the number of patients that the trial tested "
            f"({len(patients)}), got {count}"
        )
    return patients.head(count or default_count)


def choose_clips(
    patients: pd.DataFrame, predictions: Predictions, clips_per_patient: int
) -> pd.DataFrame:
    """The clips that spoke most for what was decided of their patient.

    Args:
        patients: Some rows of `judged_patients`.
        predictions: Those of the trial.
        clips_per_patient: At most so many of each.

    Returns:
        Rows of the prediction table in the order of the patients, with `decision`, `wrong` and
        `probability` (of that decision, for the clip).
    """
    table = predictions.table
    test = table[table["split"] == "test"]
    names = dict(zip(predictions.classes, probability_columns(predictions.classes), strict=True))
    chosen: list[pd.DataFrame] = []
    for patient in patients.to_dict("records"):
        clips = test.loc[
            test["patient_id"] == patient["patient_id"], [*PLAIN_COLUMNS, *names.values()]
        ]
        clips = clips.assign(
            decision=patient["decision"],
            wrong=patient["wrong"],
            probability=clips[names[patient["decision"]]],
        )
        chosen.append(clips.nlargest(clips_per_patient, "probability"))
    return pd.concat(chosen, ignore_index=True)
