"""What a trial was not tested on, as far as its data tell."""

from collections.abc import Iterator

import pandas as pd

from asd_experiments.evaluation.subgroups import ALL, FEWEST
from asd_experiments.tracking.checklist import VALIDATED_BY
from asd_experiments.tracking.finished_trial import FinishedTrial
from asd_experiments.tracking.labels import metadata_columns
from asd_experiments.tracking.runs import COLLAPSED

_USUAL = ("age", "sex", "severity", "site", "camera", "view")
_FEW_OF_A_CLASS = 20  # of 20 a sensitivity of 0.8 has the interval 0.58 to 0.92
_MOST_CHARACTERS = 40  # of a cell that is quoted


def limits(
    trial: FinishedTrial, subgroups: pd.DataFrame | None, flow: pd.DataFrame | None
) -> list[str]:
    """Say for whom the figures tell little or nothing.

    Args:
        trial: The trial.
        subgroups: Its subgroups, without what tells patients apart; None if there are none.
        flow: Its participants; None where they were not logged.
    """
    return [
        _elsewhere(trial),
        *_collapse(trial),
        *_folds(trial),
        *_classes(trial),
        *_excluded(flow),
        *_small(subgroups),
        *_metadata(trial),
    ]


def _elsewhere(trial: FinishedTrial) -> str:
    if run_id := trial.run.data.tags.get(VALIDATED_BY):
        return (
            "All patients are from one set of data. How the model does on another one is told by "
            f"its external validation, run {run_id}."
        )
    return "All patients are from one set of data; nobody has tested the model on another one."


def _collapse(trial: FinishedTrial) -> Iterator[str]:
    if folds := trial.run.data.tags.get(COLLAPSED):
        yield (
            f"Networks have collapsed ({folds}): they give (almost) all patients the same answer. "
            "Do not take this model for a classifier."
        )


def _folds(trial: FinishedTrial) -> Iterator[str]:
    if trial.group_by == "patient_id":
        yield (
            "Folds keep patients apart, not sites, cameras or days: how the model does where it "
            "knows none of them is not tested (train with group_by= for that)."
        )
    else:
        kept = f"Folds keep every {trial.group_by} whole"
        yield f"{kept}: test patients are of none that was trained on."


def _classes(trial: FinishedTrial) -> Iterator[str]:
    cases = trial.predictions.cases("test", "patient")
    counts = cases.rows["label"].value_counts()
    for name in cases.classes:
        if (count := int(counts.get(name, 0))) < _FEW_OF_A_CLASS:
            yield f"Only {count} patients are {name}: figures of this class are very uncertain."


def _excluded(flow: pd.DataFrame | None) -> Iterator[str]:
    if flow is None:
        return
    left_out = flow[flow["stage"] == "excluded"]
    if count := int(left_out["videos"].sum()):
        of = int(flow.loc[flow["stage"] == "labels", "videos"].sum())
        yield (
            f"{count} of {of} videos could not be used and are in no figure; the model is not "
            "tested on videos like them (reasons: the flow of participants)."
        )


def _small(subgroups: pd.DataFrame | None) -> Iterator[str]:
    if subgroups is None:
        return
    small = subgroups[subgroups["is_small"].astype(bool) & (subgroups["level"] != ALL)]
    if len(small):
        groups = ", ".join(
            f"{row.column} {row.level} (n = {row.num_patients})" for row in small.itertuples()
        )
        yield f"Groups of fewer than {FEWEST} patients, of which figures tell nothing: {groups}."


def _metadata(trial: FinishedTrial) -> Iterator[str]:
    videos = trial.videos
    columns = [] if videos is None else metadata_columns(videos, trial.group_by)
    if videos is None or not columns:
        yield (
            f"The labels say nothing that groups the patients: who they were "
            f"({', '.join(_USUAL)}, ...) and for whom the model works is not known."
        )
        return
    others = ", ".join(name for name in _USUAL if name not in columns)
    yield (
        f"The labels tell {', '.join(columns)}. Whatever is not among these ({others}, ...) was "
        "not looked at."
    )
    for name in columns:
        yield from _range(videos[name], name)


def _range(values: pd.Series, name: str) -> Iterator[str]:
    known = values.dropna()
    levels = known.unique()
    if len(levels) == 1 and len(str(levels[0])) <= _MOST_CHARACTERS:
        others = ", or is not told" if len(known) < len(values) else ""
        yield f"{name} is always {levels[0]}{others}: nothing is known of other values."
    elif len(levels) > 1 and pd.api.types.is_numeric_dtype(known) and known.dtype != bool:
        yield f"{name} goes from {known.min():g} to {known.max():g}: not tested beyond."
