"""From clips to answers: one row per video, with what its patient's videos say together."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from asd_experiments.evaluation.predictions import probability_columns
from asd_experiments.evaluation.temperature import calibrated
from asd_experiments.evaluation.threshold import decided
from asd_experiments.tracking.model_signature import PATIENT, output_columns
from asd_experiments.tracking.model_spec import ModelSpec


@dataclass(frozen=True)
class VideoClips:
    """What networks say of every clip of one video."""

    clips: pd.DataFrame
    """One row per network and clip: fold (number of the network, `FINAL` for the refitted one),
    clip_start (frame, counted from 0 in the stored video), clip_start_seconds (in the file),
    `probability_<class>`, not calibrated."""

    source_sha256: str
    """SHA-256 of the file."""

    person_share: float
    """Share of the file's frames in which the person was found, 0 to 1."""

    frame_rate_hz: float
    """Frames per second."""

    flags: str
    """What is wrong with the video, in words; empty: nothing."""

    @property
    def num_clips(self) -> int:
        """Clips, each of which every network saw."""
        return int(self.clips["clip_start"].nunique())


@dataclass(frozen=True)
class RequestedVideo:
    """One row of a request, and what came of it."""

    name: str
    """What the answer calls the video."""

    patient_id: str | None = None
    """Patient whose videos are to be taken together. None: the video stands for itself."""

    result: VideoClips | None = None
    """Its clips; None if it could not be classified."""

    problem: str = ""
    """Why it could not be."""


def answer_table(
    spec: ModelSpec, videos: Sequence[RequestedVideo], *, versions: str
) -> pd.DataFrame:
    """Decide for every video, and for every patient.

    A probability is the mean over all clips, of one network and at its temperature, and then the
    mean over the networks: a long video of a patient weighs more than a short one.

    Args:
        spec: Specification of the model whose networks saw the clips.
        videos: Rows of a request, in order; the same networks saw all of them.
        versions: What is said of every answer.

    Returns:
        One row per video, in order, with the columns of `output_columns`. Of a video that could
        not be classified all that is not known is empty; its patient's columns hold what the
        patient's other videos say.
    """
    classified: dict[object, list[VideoClips]] = defaultdict(list)
    owners = [_owner(number, video) for number, video in enumerate(videos)]
    for owner, video in zip(owners, videos, strict=True):
        if video.result is not None:
            classified[owner].append(video.result)
    answers = {owner: _answer(spec, results) for owner, results in classified.items()}
    empty = _answer(spec, [])
    columns = output_columns(spec.classes)
    rows = [
        {
            "video": video.name,
            "patient_id": video.patient_id,
            **_answer(spec, [video.result] if video.result else []),
            "person_share": video.result.person_share if video.result else np.nan,
            "flags": video.result.flags if video.result else "",
            "problem": video.problem,
            **{f"{PATIENT}{k}": v for k, v in answers.get(owner, empty).items()},
            "versions": versions,
        }
        for owner, video in zip(owners, videos, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(columns))


def _owner(number: int, video: RequestedVideo) -> object:
    """What tells the patient from others; a video without one is a patient of its own."""
    return number if video.patient_id is None else video.patient_id


def _answer(spec: ModelSpec, results: Iterable[VideoClips]) -> dict[str, Any]:
    """What the clips of some videos say together.

    Mean over clips, temperature, mean over networks.
    """
    tables = [result.clips for result in results]
    columns = probability_columns(spec.classes)
    num_clips = sum(int(table["clip_start"].nunique()) for table in tables)
    counts = {"num_videos": len(tables), "num_clips": num_clips}
    if not tables:
        return {"decision": None, **dict.fromkeys(columns, np.nan), "threshold": np.nan, **counts}
    means = pd.concat(tables).groupby("fold", as_index=False)[columns].mean()
    networks = [int(number) for number in means["fold"]]
    temperatures = {number: spec.temperature(number) for number in networks}
    probabilities = calibrated(means, spec.classes, temperatures).mean(axis=0)
    threshold = spec.threshold(networks)
    (decision,) = decided(probabilities[None], spec.positive, threshold)
    return {
        "decision": spec.classes[decision],
        **dict(zip(columns, probabilities.tolist(), strict=True)),
        "threshold": np.nan if threshold is None else threshold,
        **counts,
    }
