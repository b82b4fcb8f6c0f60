"""The answers as files: a row per video, and with labels another one with a row per patient."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from asd_experiments.data.video_file import file_sha256
from asd_experiments.errors import InputError
from asd_experiments.prediction.kept import kept_folder, note_written, written_before
from asd_experiments.prediction.request import Request
from asd_experiments.tracking.model_signature import PATIENT
from asd_experiments.training.files import write_atomically

SUM, TRAINED_ON = "source_sha256", "trained_on"
"""Columns of the answers beside the model's own: SHA-256 of the file, and whether the model was
trained on it."""


def check_out(out: Path, request: Request) -> None:
    """Refuse a place where no answers can be written.

    Raises:
        InputError: If the folder cannot be made, or a file is in the way.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"out: the folder {str(out.parent)!r} cannot be made ({error.strerror}); choose another"
        ) from error
    for path in _files(out, request):
        if path.exists() and not path.is_file():
            raise InputError(f"out: {str(path)!r} is no file; choose another name")


def is_complete(out: Path, request: Request, sums: Sequence[str | None], versions: str) -> bool:
    """Whether the very answers that are asked for are there already.

    Args:
        out: File of the answers.
        request: The videos.
        sums: SHA-256 of every video, in order.
        versions: What the model says of every answer.

    Raises:
        InputError: If something else is there, which must not be lost.
    """
    known, files = written_before(out), _files(out, request)
    there = [path for path in files if path.is_file()]
    strange = [path for path in there if known.get(path.name) != file_sha256(path)]
    if not strange:
        return False
    wanted = pd.DataFrame({"video": list(request.names), SUM: sums, "versions": versions})
    wanted["problem"] = ""
    if request.labels is not None:
        wanted[["patient_id", "label"]] = request.labels[["patient_id", "label"]].to_numpy()
    is_unfinished = kept_folder(out).exists()
    if not is_unfinished and there == files and _holds(out, wanted.astype(str)):
        return True
    raise InputError(
        f"out: {str(strange[0])!r} is not what an unfinished command has written, and not the "
        "answers of this model for these videos and labels either; choose another name, or take "
        "it away"
    )


def answers_of_videos(
    answers: pd.DataFrame,
    request: Request,
    sums: Sequence[str | None],
    training_videos: Sequence[str],
) -> pd.DataFrame:
    """The table of the videos.

    Args:
        answers: What the model says, a row per video.
        request: The videos.
        sums: SHA-256 of every video, in order.
        training_videos: SHA-256 of those that the model was trained on.

    Returns:
        The model's columns, and SHA-256 and whether it is a training video. Without labels nothing
        is said of patients, of whom nothing is known; with labels there is the label.
    """
    known = set(training_videos)
    table = answers.copy()
    versions = table.pop("versions")
    table[SUM] = list(sums)
    table[TRAINED_ON] = [content in known for content in sums]
    if request.labels is None:
        of_patients = [name for name in table.columns if str(name).startswith(PATIENT)]
        table = table.drop(columns=of_patients)
    else:
        table.insert(2, "label", list(request.labels["label"]))
    return table.assign(versions=versions)


def answers_of_patients(videos: pd.DataFrame) -> pd.DataFrame:
    """The table of the patients, in the order of their first videos.

    Args:
        videos: From `answers_of_videos`, with labels.

    Returns:
        patient_id, label, decision, `probability_<class>`, threshold, num_videos, num_clips and
        versions; num_videos are those that could be classified.
    """
    first = videos.drop_duplicates("patient_id").reset_index(drop=True)
    thresholds = videos.groupby("patient_id")["threshold"].first()
    own = {
        name: name.removeprefix(PATIENT)
        for name in map(str, first.columns)
        if name.startswith(PATIENT) and name != "patient_id"
    }
    table = first[["patient_id", "label", *own, "versions"]].rename(columns=own)
    place = list(table.columns).index("num_videos")
    table.insert(place, "threshold", table["patient_id"].map(thresholds))
    return table


def write_answers(out: Path, videos: pd.DataFrame, request: Request) -> None:
    """Write both tables, each of which is there as a whole or not at all."""
    tables = [videos] if request.labels is None else [videos, answers_of_patients(videos)]
    paths = _files(out, request)
    for path, table in zip(paths, tables, strict=True):
        write_atomically(path, partial(_write, table, path.suffix))
    note_written(out, {path.name: file_sha256(path) for path in paths})


def patients_file(out: Path) -> Path:
    """File of the patients, beside that of the videos."""
    return out.with_name(f"{out.stem}_patients{out.suffix}")


def _files(out: Path, request: Request) -> list[Path]:
    return [out] if request.labels is None else [out, patients_file(out)]


def _write(table: pd.DataFrame, ending: str, file: Path) -> None:
    if ending == ".csv":
        table.to_csv(file, index=False)
    else:
        table.to_parquet(file, index=False)


def _holds(file: Path, wanted: pd.DataFrame) -> bool:
    """Whether a table has these texts in these columns."""
    columns = list(wanted.columns)
    try:
        if file.suffix == ".csv":
            table = pd.read_csv(file, dtype=str, keep_default_na=False)[columns]
        else:
            table = pd.read_parquet(file, columns=columns)
    except (ValueError, KeyError, OSError):  # it is no such table at all
        return False
    return bool(table.to_numpy().tolist() == wanted.to_numpy().tolist())
