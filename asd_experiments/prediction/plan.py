"""One process's share of the videos: what it needs to know, and what it says of every video.

Nothing here imports PyTorch before a process begins to work: a node of a cluster is asked first.
"""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asd_experiments.tracking.answers import VideoClips
from preprocess.dispatch import WORKER_DIED

if TYPE_CHECKING:
    from asd_experiments.prediction.worker import Worker


@dataclass(frozen=True)
class Result:
    """What became of one video."""

    video: str
    """Its name."""

    clips: VideoClips | None = None
    """What the networks say of it; None if it could not be classified."""

    problem: str = ""
    """Why it could not be."""

    @classmethod
    def lost(cls, video: str) -> "Result":
        """Result of a video whose workers die."""
        return cls(video, problem=WORKER_DIED)


@dataclass(frozen=True)
class Plan:
    """Everything that another process needs to classify videos."""

    videos: Path
    """Folder that the names of the videos start from."""

    sums: Mapping[str, str]
    """SHA-256 of every video, by its name."""

    model: Path | Mapping[str, bytes]
    """The model's files: their folder, or their contents by name."""

    options: Mapping[str, object]
    """See `PredictOptions`."""

    def worker(self) -> "Worker":
        """Load the model; once in a process, not per video."""
        from asd_experiments.prediction.worker import Worker

        if isinstance(self.model, Path):
            return Worker(self, self.model)
        folder = Path(tempfile.mkdtemp(prefix="model_"))
        for name, content in self.model.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        worker = Worker(self, folder)
        weakref.finalize(worker, shutil.rmtree, folder, ignore_errors=True)
        return worker
