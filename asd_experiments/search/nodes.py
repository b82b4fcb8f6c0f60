"""What every node of a Ray cluster is asked before the first trial.

Nothing here imports PyTorch: a node answers in a third of the time that a trial's imports take, and
all nodes of one machine are asked at once.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asd_experiments.data.store import ClipStore
from asd_experiments.errors import InputError
from asd_experiments.ray_cluster import other_library
from asd_experiments.tracking.sweep import tracking_obstacle


@dataclass(frozen=True)
class Errand:
    """What a node needs to know to say whether it can run trials."""

    sweep_run_id: str
    tracking_uri: str
    store: str

    digest: str
    """Of the clip store."""

    folder: str
    """Of the sweep, which every node has to write into."""

    libraries: Mapping[str, str]
    """Name and version of what must be the same on all nodes."""


def obstacle(errand: Errand) -> str | None:
    """Why this node cannot run trials of a sweep; None if it can."""
    if reason := other_library(errand.libraries):
        return reason
    try:
        with tempfile.TemporaryFile(dir=Path(errand.folder)):
            pass
    except OSError as error:
        return (
            f"it cannot write into the sweep's folder {errand.folder} ({error.strerror}); give a "
            "folder= on a disk that all nodes share"
        )
    try:
        digest = ClipStore(errand.store).digest
    except InputError as error:
        return f"{error}; put the store on a disk that all nodes share, or s3://..."
    if digest != errand.digest:
        return f"it sees another store at {errand.store}; see that all nodes share it"
    return tracking_obstacle(errand.tracking_uri, errand.sweep_run_id)
