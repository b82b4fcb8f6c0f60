"""Human readers of the same videos, judged as if they were models: the published Table I."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from asd_experiments.data.manifest import READER_ANSWERS
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.predictions import probability_columns
from asd_experiments.evaluation.sampled import Estimate, equally, sample
from asd_experiments.reporting.rows import Comparison
from asd_experiments.tracking.finished_trial import FinishedTrial

_PREFIX = "reader_"
_YES, _NO, _UNDECIDED = READER_ANSWERS
_SCORES = {_YES: 1.0, _NO: 0.0, _UNDECIDED: 0.5}
_THRESHOLD = 0.5
_POINT = ("sensitivity", "specificity")


@dataclass(frozen=True)
class Reader:
    """One human reader."""

    name: str
    num_patients: int
    num_undecided: int

    figures: Mapping[str, Estimate]
    """By metric; sensitivity and specificity are always there."""

    differences: Mapping[str, Estimate]
    """To the reference row; empty if the reader did not see the same patients."""


def judge_readers(
    trials: Sequence[FinishedTrial], comparison: Comparison, *, seed: int = 0
) -> list[Reader]:
    """Score the readers whose answers came with the labels, by the code that scores models.

    Only patients are read by readers: for other units there are none.
    """
    videos = next((t.videos for t in trials if t.videos is not None), None)
    if comparison.unit != "patient" or videos is None:
        return []
    first = comparison.cases[0]
    groups = dict(zip(first.rows["patient_id"].astype(str), first.rows["group"], strict=True))
    tested = videos[videos["patient_id"].astype(str).isin(list(groups))]
    found = reader_cases(tested, first.classes, first.positive_class, groups)
    readers = []
    for name, cases in found.items():
        by_patient = cases.rows.groupby("patient_id")["decided_yes"].nunique()
        same = len(by_patient) == len(groups)
        others = [comparison.cases[i] for i in comparison.reference.members] if same else []
        metrics = [*comparison.metrics, *_POINT]
        sampled = sample([cases, *others], metrics, seed=seed)
        reference = equally(range(1, 1 + len(others)))
        readers.append(
            Reader(
                name,
                len(by_patient),
                int((by_patient > 1).sum()),
                {metric: sampled[metric].estimate({0: 1.0}) for metric in metrics},
                {m: sampled[m].difference({0: 1.0}, reference) for m in metrics} if same else {},
            )
        )
    return readers


def reader_cases(
    videos: pd.DataFrame,
    classes: list[str],
    positive_class: str,
    groups: Mapping[str, str] | None = None,
) -> dict[str, Cases]:
    """What each reader said of every patient, in the shape of a model's predictions.

    A reader answers for a video whether the patient is of the positive class; of several videos
    of a patient the majority of answers counts. A patient about whom the reader is undecided is
    half a yes and half a no: two cases stand for every patient, which say the same but there. So
    counts are those of the published study, in halves, and AUROC is that of the decisions alone.

    Args:
        videos: One row per video: patient_id, label and the columns `reader_*`.
        classes: The two classes in their fixed order.
        positive_class: What the readers were asked about.
        groups: Group of every patient; None: each is one of its own.

    Returns:
        Cases by the reader's name, patients that the reader did not see left out. Empty for three
        or more classes: a yes says nothing of the others.
    """
    if len(classes) != 2:
        return {}
    columns = [name for name in videos.columns if str(name).startswith(_PREFIX)]
    named = {str(name).removeprefix(_PREFIX): name for name in columns}
    found = {
        reader: _rows(videos, name, classes, positive_class, groups or {})
        for reader, name in named.items()
    }
    return {
        reader: Cases(rows, classes, positive_class, {0: _THRESHOLD})
        for reader, rows in found.items()
        if len(rows)
    }


def _rows(
    videos: pd.DataFrame,
    column: str,
    classes: list[str],
    positive_class: str,
    groups: Mapping[str, str],
) -> pd.DataFrame:
    answered = videos.assign(score=videos[column].map(_SCORES)).dropna(subset=["score"])
    patients = answered.groupby("patient_id", sort=True).agg(
        score=("score", "mean"), label=("label", "first"), num_clips=("score", "size")
    )
    rows = pd.DataFrame(
        {
            "fold": 0,
            "split": "test",
            "group": groups.get(str(patient), str(patient)),
            "patient_id": patient,
            "label": row["label"],
            "num_clips": row["num_clips"],
            "decided_yes": yes,
        }
        for patient, row in patients.iterrows()
        for yes in _halves(row["score"])
    )
    if rows.empty:
        return rows
    for name, column_name in zip(classes, probability_columns(classes), strict=True):
        rows[column_name] = (
            rows["decided_yes"] if name == positive_class else 1 - rows["decided_yes"]
        )
    return rows


def _halves(score: float) -> Iterator[float]:
    """The two halves of a patient's answer, as scores: both yes, both no, or one of each."""
    yield float(score >= _THRESHOLD)
    yield float(score > _THRESHOLD)
