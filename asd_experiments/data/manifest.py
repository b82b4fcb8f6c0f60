"""The labels file: which video shows which patient, and what the patient has."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pandas as pd

from asd_experiments.config import ValidateConfig
from asd_experiments.data.video_file import (
    DEFAULT_BOUNDS,
    file_sha256,
    header_refusal,
    open_video,
    video_stream,
)
from asd_experiments.errors import InputError, all_problems

REQUIRED_COLUMNS = ("video", "patient_id", "label")
READER_ANSWERS = ("yes", "no", "undecided")
FIRST_ROW = 2
"""Line of the labels file that holds its first video; line 1 holds the column names."""

FEWEST_PATIENTS = 3
"""Fewest patients of a class that can be cross-validated: one each to train, select and test."""


class Finding(NamedTuple):
    """Something wrong in one row of a labels file."""

    row: int
    """Its line in the file."""

    text: str
    """What is wrong."""


class LabelsError(InputError):
    """Everything that is wrong with a labels file, one line per problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(all_problems("in the labels", problems))


def validate(config: ValidateConfig) -> None:
    """Check a labels file and its videos and print what they hold.

    Raises:
        LabelsError: If anything is wrong; it lists every problem by row, unreadable videos too.
    """
    videos = Path(config.videos)
    labels, findings = _checked(Path(config.labels), videos)
    for row, reason in unreadable_videos(labels, videos).items():
        name = labels["video"][row - FIRST_ROW]
        findings.append(Finding(row, f"video {name!r} cannot be read: {reason}"))
    _refuse(findings)
    patients = labels.drop_duplicates("patient_id")["label"].value_counts()
    classes = ", ".join(f"{count} {label}" for label, count in patients.items())
    print(f"{len(labels)} videos of {patients.sum()} patients ({classes}): no problem found.")
    print(
        "Only the header and the first frame of each video were read: "
        "truncated and damaged files are found by preprocess, which decodes them whole."
    )
    for warning in _too_few_patients(patients):
        print(f"Warning: {warning}")


def _too_few_patients(patients: pd.Series) -> list[str]:
    """What stands in the way of a training, which the store does not need."""
    if len(patients) < 2:
        return ["there is one class only; training needs at least two to tell apart"]
    return [
        f"class {label!r} has {count} patient{'s' if count > 1 else ''}; "
        f"cross-validation needs at least {FEWEST_PATIENTS}"
        for label, count in patients.items()
        if count < FEWEST_PATIENTS
    ]


def read_labels(labels: Path, videos: Path) -> pd.DataFrame:
    """Read and check a labels file; one row per video, in the order of the file.

    What the videos hold is not looked at: see `unreadable_videos`.

    Args:
        labels: CSV file with the columns video, patient_id and label, optionally view, disease,
            reader_* (yes, no or undecided) and any metadata column (all numbers or all text).
        videos: Folder that the paths in the column video start from.

    Raises:
        LabelsError: If anything is wrong; it lists every problem by row.
    """
    table, findings = _checked(labels, videos)
    _refuse(findings)
    return _with_numbers(table)


def unreadable_videos(labels: pd.DataFrame, videos: Path) -> dict[int, str]:
    """Say why videos cannot be read, as far as their headers and first frames tell.

    Args:
        labels: Table with the column video, in the order of the labels file.
        videos: Folder that the paths in it start from.

    Returns:
        Reason by row of the labels file. A file that is not in the folder has none.
    """
    root = videos.resolve()
    paths = {row: (root / name).resolve() for row, name in _rows(labels, "video")}
    return {
        row: reason
        for row, path in paths.items()
        if path.is_relative_to(root) and path.is_file() and (reason := unreadable(path))
    }


def _refuse(findings: list[Finding]) -> None:
    """List everything that is wrong in the order of the file, in which it is mended."""
    if findings:
        in_order = sorted(findings, key=lambda finding: finding.row)
        raise LabelsError([f"row {row}: {text}" for row, text in in_order])


def _checked(labels: Path, videos: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """The table as text, and what is wrong with it."""
    table = _read_table(labels)
    if not videos.is_dir():
        raise LabelsError([f"the videos folder {str(videos)!r} does not exist"])
    return table, [
        *_empty_cells(table),
        *_labels_per_patient(table),
        *_reader_answers(table),
        *_mixed_columns(table),
        *_video_files(table, videos),
    ]


def _read_table(labels: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            labels,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            header=None,
            index_col=False,
            skip_blank_lines=False,
        )
    except FileNotFoundError:
        raise LabelsError([f"the labels file {str(labels)!r} does not exist"]) from None
    except UnicodeDecodeError:
        raise LabelsError([f"{str(labels)!r} is not UTF-8; save it as CSV UTF-8"]) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, OSError) as error:
        raise LabelsError([f"{str(labels)!r} is not a readable CSV file: {error}"]) from None
    names = [str(name).strip() for name in table.iloc[0]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LabelsError([f"column {name!r} stands there twice" for name in twice])
    table = table.iloc[1:].set_axis(names, axis=1).reset_index(drop=True)
    missing = [name for name in REQUIRED_COLUMNS if name not in table.columns]
    if missing:
        found = ", ".join(table.columns)
        hint = "; the cells must be separated by commas" if ";" in found else ""
        raise LabelsError([f"column {n!r} is missing; found: {found}{hint}" for n in missing])
    if table.empty:
        raise LabelsError(["there is no row below the column names"])
    for column in table.columns:
        table[column] = table[column].str.strip()
    return table


def _rows(table: pd.DataFrame, column: str) -> Iterator[tuple[int, str]]:
    """Line number in the file and cell, for every row."""
    return enumerate(table[column], start=FIRST_ROW)


def _empty_cells(table: pd.DataFrame) -> list[Finding]:
    return [
        Finding(row, f"{column} is empty")
        for column in REQUIRED_COLUMNS
        for row, cell in _rows(table, column)
        if not cell
    ]


def _labels_per_patient(table: pd.DataFrame) -> list[Finding]:
    findings = []
    first: dict[str, tuple[int, str]] = {}
    for (row, patient), label in zip(_rows(table, "patient_id"), table["label"], strict=True):
        first_row, first_label = first.setdefault(patient, (row, label))
        if patient and label and first_label and label != first_label:
            text = (
                f"patient {patient!r} is labelled {label!r} here "
                f"but {first_label!r} in row {first_row}; a patient has one label"
            )
            findings.append(Finding(row, text))
    return findings


def _reader_answers(table: pd.DataFrame) -> list[Finding]:
    answers = ", ".join(READER_ANSWERS)
    return [
        Finding(row, f"{column} must be one of {answers} or empty, got {cell!r}")
        for column in table.columns
        if column.startswith("reader_")
        for row, cell in _rows(table, column)
        if cell and cell not in READER_ANSWERS
    ]


def _metadata_columns(table: pd.DataFrame) -> list[str]:
    known = {*REQUIRED_COLUMNS, "view", "disease"}
    return [c for c in table.columns if c not in known and not c.startswith("reader_")]


def _mixed_columns(table: pd.DataFrame) -> list[Finding]:
    """A metadata column is all numbers or all text: a stray `n/a` must not change its type."""
    findings = []
    for column in _metadata_columns(table):
        filled = table[column][table[column] != ""]
        numeric = np.isfinite(pd.to_numeric(filled, errors="coerce"))
        if not numeric.any() or numeric.all():
            continue
        odd = numeric.index[numeric != (numeric.mean() >= 0.5)]
        findings += [
            Finding(
                index + FIRST_ROW,
                f"column {column!r} mixes numbers and text, got {table[column][index]!r}; "
                "leave the cell empty where there is no value",
            )
            for index in odd
        ]
    return findings


def _with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Turn metadata columns of numbers into numbers."""
    for column in _metadata_columns(table):
        numbers = pd.to_numeric(table[column].replace("", None), errors="coerce")
        if numbers.notna().any():
            table[column] = numbers.astype(float)
    return table


def _video_files(table: pd.DataFrame, videos: Path) -> list[Finding]:
    findings = []
    first_row_of: dict[Path, int] = {}
    root = videos.resolve()
    for row, name in _rows(table, "video"):
        if not name:
            continue
        path = (root / name).resolve()
        first_row = first_row_of.setdefault(path, row)
        if first_row != row:
            findings.append(Finding(row, f"video {name!r} stands in row {first_row} already"))
        elif not path.is_relative_to(root):
            findings.append(Finding(row, f"video {name!r} lies outside the videos folder"))
        elif not path.is_file():
            findings.append(Finding(row, f"video {name!r} does not exist in the videos folder"))
    return findings + _same_content(first_row_of)


def unreadable(video: Path) -> str | None:
    """Say why a video's header or first frame rules it out; None when they do not."""
    try:
        with open_video(str(video), bounds=DEFAULT_BOUNDS) as container:
            stream = video_stream(container)
            if stream is None:
                return "it holds no video stream"
            if reason := header_refusal(container, stream, DEFAULT_BOUNDS):
                return reason
            if next(container.decode(stream), None) is None:
                return "it holds no frame"
    except (av.error.FFmpegError, OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _same_content(row_of: dict[Path, int]) -> list[Finding]:
    """The same recording under two names would put one walk on both sides of a split."""
    by_size: dict[int, list[Path]] = {}
    for path in row_of:
        if path.is_file() and path.stat().st_size:
            by_size.setdefault(path.stat().st_size, []).append(path)
    first: dict[str, Path] = {}
    findings = []
    for path in (path for paths in by_size.values() if len(paths) > 1 for path in paths):
        twin = first.setdefault(file_sha256(path), path)
        if twin is not path:
            findings.append(Finding(row_of[path], f"same file content as row {row_of[twin]}"))
    return findings
