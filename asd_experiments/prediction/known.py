"""Who was in a model's training set must not validate it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from asd_experiments.data.manifest import FIRST_ROW
from asd_experiments.errors import InputError, all_problems
from asd_experiments.pseudonyms import Pseudonyms
from asd_experiments.tracking.anonymity import ANONYMISED, same_key
from asd_experiments.tracking.finished_trial import FOLDS, read_table
from asd_experiments.tracking.model_spec import ModelSpec
from asd_experiments.tracking.runs import is_tracker_lost


class KnownTrial(NamedTuple):
    """The trial that a model comes from, as far as it can be seen from here."""

    run: Run | None
    """Its run; None if it is not on this tracking server."""

    known: frozenset[str]
    """Those of the patients in question who have the id of one of its patients."""

    unchecked: str
    """Why that cannot be said of them; empty if it can."""


def find_trial(spec: ModelSpec, patients: Collection[str], key_file: str | None) -> KnownTrial:
    """Look for the trial of a model, and for patients in it.

    Args:
        spec: Specification of the model.
        patients: Ids of patients; nobody is looked for if there is none.
        key_file: File of the key of the trial's pseudonyms. None: the user's own.

    Raises:
        InputError: If a key is given that cannot be read, or is another one.
    """
    run = _run_of(spec)
    if not patients:
        return KnownTrial(run, frozenset(), "")
    there, fingerprint = _patients_of(spec, run)
    if not there:
        silent = "does not say who its patients were"
        why = "is not on this tracking server" if run is None else silent
        return KnownTrial(run, frozenset(), f"the run of its trial {why}")
    try:
        name = _naming(fingerprint, key_file, f"the trial {spec.run_id}")
    except InputError:
        if key_file is not None:
            raise
        why = "its trial has pseudonyms of a key that is not here (give it by pseudonym_key=)"
        return KnownTrial(run, frozenset(), why)
    # Ids stand beside pseudonyms in a run whose scrub broke off.
    return KnownTrial(run, frozenset(p for p in patients if there & {p, name(p)}), "")


def _run_of(spec: ModelSpec) -> Run | None:
    try:
        return MlflowClient().get_run(spec.run_id)
    except MlflowException as error:
        if is_tracker_lost(error):
            raise
        return None


def _patients_of(spec: ModelSpec, run: Run | None) -> tuple[frozenset[str], str | None]:
    """What the patients of a trial are called, and by the pseudonyms of which key, if by any."""
    if spec.training_patients:
        return frozenset(spec.training_patients), spec.anonymised
    manifest = None if run is None else read_table(run, FOLDS)
    if run is None or manifest is None:
        return frozenset(), None
    return frozenset(manifest["patient_id"].map(str)), run.data.tags.get(ANONYMISED)


def _naming(fingerprint: str | None, key_file: str | None, whose: str) -> Callable[[str], str]:
    """What a trial calls a patient.

    Raises:
        InputError: If it has pseudonyms, and their key is not there.
    """
    if fingerprint is None:
        return str
    return Pseudonyms(same_key(key_file, fingerprint, whose)).patient


def refuse_known(
    labels: pd.DataFrame, sums: Mapping[str, str | None], spec: ModelSpec, patients: frozenset[str]
) -> None:
    """Refuse to validate a model on what it was trained on, or on its patients' other videos.

    Args:
        labels: The labels file.
        sums: SHA-256 of every video, by its name.
        spec: Specification of the model.
        patients: Those who have the id of a patient of the model's trial.

    Raises:
        InputError: With every row that has to be left out, and why.
    """
    if not spec.training_videos:
        raise InputError(
            "labels: the model does not say which videos it was trained on, so it cannot be shown "
            "that these are others; train it anew, or leave labels out"
        )
    problems = [f"row {row}: {why}" for row, why in _known_rows(labels, sums, spec, patients)]
    if problems:
        raise InputError(
            f"{all_problems('with what the model knows already', problems)}\n"
            "Nothing was computed. Leave these rows out of the labels. A patient who only has the "
            "id of one of the model's patients needs another id, such as OTHER_SITE-ID"
        )


def _known_rows(
    labels: pd.DataFrame,
    sums: Mapping[str, str | None],
    spec: ModelSpec,
    patients: frozenset[str],
) -> Sequence[tuple[int, str]]:
    trained_on = set(spec.training_videos)
    rows = range(FIRST_ROW, FIRST_ROW + len(labels))
    known = {
        row: patient
        for row, video, patient in zip(rows, labels["video"], labels["patient_id"], strict=True)
        if sums[str(video)] in trained_on
    }
    first_row: dict[str, int] = {}
    for row, patient in known.items():
        first_row.setdefault(str(patient), row)
    found = []
    for row, patient in zip(rows, labels["patient_id"].astype(str), strict=True):
        if row in known:
            found.append((row, "the model was trained on this very video"))
        elif patient in first_row:
            why = (
                f"the model was trained on another video of its patient (row {first_row[patient]})"
            )
            found.append((row, why))
        elif patient in patients:
            found.append((row, "the model was trained on a patient of this id"))
    return found
