"""Outer folds and the split inside each, always between whole patients."""

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator, LeaveOneGroupOut, StratifiedGroupKFold

from asd_experiments.data.manifest import FEWEST_PATIENTS
from asd_experiments.errors import InputError, unknown_choice

SPLITS = ("train", "val", "test")


class SplitError(InputError):
    """These patients cannot be split as asked; the message says why and what to change."""


def assign_folds(
    videos: pd.DataFrame, *, folds: int, inner_folds: int, group_by: str, seed: int
) -> pd.DataFrame:
    """Assign every patient to train, val or test in every fold.

    Outer folds are stratified by label and never divide a group; inside a fold, one part in
    `inner_folds` of the remaining groups becomes val. With as many folds as groups, each group is
    left out once.

    Args:
        videos: One row per video with the columns patient_id, label and `group_by`.
        folds: Number of outer folds.
        inner_folds: One part in this many of the training patients becomes val.
        group_by: Column that is never split; patient_id, or one that holds whole patients.
        seed: Seed of the shuffling.

    Returns:
        The fold manifest: one row per fold and patient with the columns fold, split, group,
        patient_id and label.

    Raises:
        SplitError: If train or val of a fold would lack a class, or sets could not be disjoint.
    """
    patients = _one_row_per_patient(videos, group_by)
    _check_counts(patients, folds=folds, group_by=group_by)
    outer = _splitter(folds, patients["group"].nunique(), seed)
    manifest = pd.concat(
        [
            _fold_rows(patients, fold, rest, test, inner_folds=inner_folds, seed=seed)
            for fold, (rest, test) in enumerate(_split(outer, patients))
        ],
        ignore_index=True,
    )
    check_disjoint(manifest)
    _check_classes(manifest)
    return manifest


def _one_row_per_patient(videos: pd.DataFrame, group_by: str) -> pd.DataFrame:
    if group_by not in videos.columns:
        raise SplitError(f"group_by: {unknown_choice('column', group_by, videos.columns)}")
    if videos[group_by].isna().any() or (videos[group_by] == "").any():
        raise SplitError(f"group_by: column {group_by!r} is empty for some videos; fill it in")
    patients = videos.assign(group=videos[group_by].astype(str))
    patients = patients[["patient_id", "label", "group"]].drop_duplicates()
    for column, noun in (("label", "labels"), ("group", "groups")):
        values = patients.groupby("patient_id")[column].nunique()
        if (values > 1).any():
            patient = values.idxmax()
            raise SplitError(f"patient {patient!r} has two {noun}; a split would tear it apart")
    return patients.sort_values("patient_id", ignore_index=True)


def _check_counts(patients: pd.DataFrame, *, folds: int, group_by: str) -> None:
    if patients["label"].nunique() < 2:
        raise SplitError("there must be at least two labels to tell apart")
    groups = patients["group"].nunique()
    if groups < folds:
        raise SplitError(
            f"folds must be at most the number of groups: {folds} folds, "
            f"{groups} different values of {group_by}"
        )
    if group_by == "patient_id":
        per_class = patients["label"].value_counts()
        if per_class.min() < FEWEST_PATIENTS:
            raise SplitError(
                f"class {per_class.idxmin()!r} has {per_class.min()} patients; train, val and "
                f"test must each hold one, so every class needs at least {FEWEST_PATIENTS} "
                f"(and folds={FEWEST_PATIENTS})"
            )
        if per_class.min() < folds < groups:
            raise SplitError(
                f"folds must be at most {per_class.min()} (class {per_class.idxmin()!r} has that "
                f"many patients), got {folds}"
            )


def _splitter(num_parts: int, num_groups: int, seed: int) -> BaseCrossValidator:
    if num_parts == num_groups:
        return LeaveOneGroupOut()
    return StratifiedGroupKFold(num_parts, shuffle=True, random_state=seed)


def _split(
    splitter: BaseCrossValidator, patients: pd.DataFrame
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    with warnings.catch_warnings():
        # A class with fewer patients than parts: `_check_classes` says so if it matters.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        yield from splitter.split(patients, patients["label"], patients["group"])


def _fold_rows(
    patients: pd.DataFrame,
    fold: int,
    rest: np.ndarray,
    test: np.ndarray,
    *,
    inner_folds: int,
    seed: int,
) -> pd.DataFrame:
    remaining = patients.iloc[rest].reset_index(drop=True)
    groups = remaining["group"].nunique()
    if groups < 2:
        raise SplitError(f"fold {fold + 1}: {groups} group is left for train and val; add patients")
    smallest_class = remaining.groupby("label")["group"].nunique().min()
    parts = max(2, min(inner_folds, groups, smallest_class))
    train, val = next(_split(_splitter(parts, groups, seed), remaining))
    rows = {"train": remaining.iloc[train], "val": remaining.iloc[val], "test": patients.iloc[test]}
    return pd.concat(
        [table.assign(fold=fold, split=split) for split, table in rows.items()], ignore_index=True
    )[["fold", "split", "group", "patient_id", "label"]]


def check_disjoint(manifest: pd.DataFrame) -> None:
    """Prove that no group stands on two sides of a fold and that each is tested exactly once.

    Raises:
        SplitError: If it is not so.
    """
    sides = manifest[["fold", "group", "split"]].drop_duplicates()
    torn = sides[sides.duplicated(["fold", "group"])]
    if not torn.empty:
        fold, group = torn.iloc[0][["fold", "group"]]
        raise SplitError(f"fold {fold}: group {group!r} stands in more than one of {SPLITS}")
    tested = manifest[manifest["split"] == "test"].groupby("patient_id")["fold"].nunique()
    if set(tested.index) != set(manifest["patient_id"]) or (tested != 1).any():
        raise SplitError("every patient must be tested in exactly one fold")


def _check_classes(manifest: pd.DataFrame) -> None:
    classes = set(manifest["label"])
    learning = manifest[manifest["split"] != "test"]
    for (fold, split), rows in learning.groupby(["fold", "split"]):
        missing = ", ".join(sorted(classes - set(rows["label"])))
        if missing:
            raise SplitError(
                f"fold {int(str(fold)) + 1}: {split} holds no patient of class {missing}; too few "
                "have it for these folds and inner_folds: change them or add patients"
            )
