"""Classifies the clips of videos, one video at a time."""

from pathlib import Path

import torch

from asd_experiments.errors import InputError
from asd_experiments.prediction.plan import Plan, Result
from asd_experiments.tracking.model import TwoStreamVideoModel
from preprocess.decode import VideoError
from preprocess.worker import check_folder


class Worker:
    """What a process classifies videos with.

    It computes on one core: there are as many processes as cores, and a sum that is split by the
    number of cores would come out differently with it.

    Args:
        plan: What is to be done.
        model: Folder of the model's files.
    """

    def __init__(self, plan: Plan, model: Path) -> None:
        torch.set_num_threads(1)
        self._plan = plan
        self._model = TwoStreamVideoModel(model)
        self._options = self._model.options(plan.options)

    def __call__(self, video: str) -> Result:
        """Classify a video, or say why that cannot be.

        Raises:
            VideosGoneError: If the whole folder is gone.
            InputError: If there is no room, on the disk or in the GPU.
        """
        result = self._result(video)
        if result.problem:
            check_folder(self._plan.videos)
        return result

    def _result(self, video: str) -> Result:
        try:
            clips = self._model.clips_of(self._plan.videos / video, self._options)
        except VideoError as error:
            return Result(video, problem=str(error))
        except OSError as error:
            return Result(video, problem=f"it cannot be read: {error.strerror}")
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"batch_size={self._options.batch_size} clips do not fit into the GPU's memory; "
                "choose less"
            ) from error
        if clips.source_sha256 != self._plan.sums[video]:
            return Result(video, problem="it has changed meanwhile; run the same command again")
        return Result(video, clips)
