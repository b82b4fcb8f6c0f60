"""Which videos are to be classified, and what is known of them."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from asd_experiments.data.manifest import FIRST_ROW, read_labels
from asd_experiments.data.video_file import file_sha256
from asd_experiments.errors import InputError, all_problems
from asd_experiments.interruption import raise_if_stopped
from asd_experiments.progress import progress_bar
from preprocess.worker import check_folder

ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts"),
    *(".wmv", ".3gp", ".ogv"),
)
"""Endings of the files that are taken for videos where no labels name them, in lower case."""

_MOST_NAMED = 10
_READERS = 4


@dataclass(frozen=True)
class Request:
    """Videos to classify, in order."""

    folder: Path
    """What the names start from."""

    names: Sequence[str]
    """Paths below the folder; each once."""

    labels: pd.DataFrame | None = None
    """The labels file, a row per video in the same order; None if there is none."""

    @property
    def rows(self) -> dict[str, int]:
        """Line of every video, by its name: in the labels file, or in a CSV file of the answers."""
        return {name: row for row, name in enumerate(self.names, start=FIRST_ROW)}

    @property
    def patients(self) -> list[str | None]:
        """Patient of every video, where that is known."""
        if self.labels is None:
            return [None] * len(self.names)
        return [str(patient) for patient in self.labels["patient_id"]]


def read_request(videos: Path, labels: Path | None) -> Request:
    """Find the videos and check what is said of them.

    Args:
        videos: Folder of the videos.
        labels: Labels file. None: every video file below the folder is meant.

    Raises:
        InputError: If there is no video, or anything is wrong with the labels.
    """
    if labels is None:
        return Request(videos, _video_files(videos))
    table = read_labels(labels, videos)
    return Request(videos, [str(name) for name in table["video"]], table)


def check_classes(request: Request, classes: Sequence[str]) -> None:
    """Refuse labels that a model does not know.

    Args:
        request: The request.
        classes: What the model can tell apart.

    Raises:
        InputError: With every row that has one.
    """
    labels = [] if request.labels is None else request.labels["label"].tolist()
    problems = [
        f"row {row}: label {label!r} is none of the model's classes"
        for row, label in enumerate(labels, start=FIRST_ROW)
        if label not in classes
    ]
    if problems:
        raise InputError(
            f"{all_problems('in the labels', problems)}\n"
            f"The model tells {' and '.join(classes)} apart: write them as it does"
        )


def file_sums(request: Request) -> dict[str, str | None]:
    """SHA-256 of every file, by its name; None of one that cannot be read.

    Raises:
        VideosGoneError: If the whole folder is gone.
    """
    with ThreadPoolExecutor(_READERS) as readers, closing(_sums(request, readers)) as sums:
        bar = progress_bar(sums, total=len(request.names), title="look at files", unit="file")
        return dict(bar)


def named_rows(rows: Sequence[int]) -> str:
    """Rows in words, not more of them than a line takes."""
    text = f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:_MOST_NAMED]))}"
    more = len(rows) - _MOST_NAMED
    return f"{text} and {more} more" if more > 0 else text


def _sums(request: Request, readers: ThreadPoolExecutor) -> Generator[tuple[str, str | None]]:
    paths = [request.folder / name for name in request.names]
    for name, sum_of_it in zip(request.names, readers.map(_sum, paths), strict=True):
        raise_if_stopped()
        if sum_of_it is None:
            check_folder(request.folder)
        yield name, sum_of_it


def _sum(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except OSError:
        return None


def _video_files(videos: Path) -> list[str]:
    if not videos.is_dir():
        raise InputError(f"videos: the folder {str(videos)!r} does not exist")
    found = sorted(
        path.relative_to(videos).as_posix()
        for path in videos.rglob("*")
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise InputError(
            f"videos: there is no video file below {str(videos)!r} (with an ending such as "
            f"{', '.join(ENDINGS[:6])}); give the folder of the videos, or labels= that name them"
        )
    return found
