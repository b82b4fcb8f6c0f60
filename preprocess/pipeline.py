"""The command `preprocess`: labelled videos to a clip store; and the same for a single video."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Float32
from pydantic import TypeAdapter

import asd_experiments
from asd_experiments.config import PreprocessConfig
from asd_experiments.data.manifest import file_sha256, read_labels
from asd_experiments.data.store import PreparedFrame, StoreWriter, VideoFacts, video_key
from asd_experiments.progress import progress_bar
from preprocess.crop import cut, oversampling_of, smooth_windows
from preprocess.decode import Video, VideoError, probe
from preprocess.flow import FLOWS
from preprocess.people import PERSON_FINDERS
from preprocess.people.finder import Person


class Preprocessor:
    """Everything that happens to one video on its way into a clip store.

    Args:
        recipe: Parameters as `PreprocessConfig.recipe` gives them and a store's root carries them.
        flow_weights: Weights of the flow network as safetensors, where the method has any.

    Raises:
        ValueError: If the recipe lacks a parameter or holds an unknown one or a wrong value.
        FlowWeightsError: If the flow method needs weights and has none, or the other way round.
    """

    def __init__(self, recipe: Mapping[str, object], flow_weights: bytes | None = None) -> None:
        self._config = _config_of(recipe)
        self.recipe = self._config.recipe
        self._method = FLOWS[self._config.flow]
        self._flow = self._method.build(flow_weights)
        self._find_person = PERSON_FINDERS[self._config.people]

    @property
    def backends(self) -> dict[str, str]:
        """Name and version of everything that computes what is stored."""
        libraries = {"av", "opencv-python-headless", *self._method.libraries}
        versions = {name: version(name) for name in sorted(libraries)}
        return {"asd_experiments": asd_experiments.__version__, **versions}

    def store_video(self, video: Path, writer: StoreWriter) -> VideoFacts:
        """Find the person, cut, segment, compute flow, and write it all into a store.

        The video is decoded several times and never held in memory.

        Raises:
            VideoError: If the video cannot be decoded or shows nobody.
        """
        with _one_opencv_thread():
            source = probe(video)
            person = self._find_person(source)
            facts = VideoFacts(
                source_sha256=file_sha256(video),
                num_frames=len(person.track.boxes),
                first_frame=person.track.first_frame,
                frame_rate_hz=source.frame_rate_hz,
                source_frames=source.num_frames,
                person_share=person.track.num_found / source.num_frames,
            )
            writer.write(facts, self._with_flow(self._crops(source, person)))
        return facts

    def failure(self, video: Path, writer: StoreWriter) -> str | None:
        """Store one video; say why it could not be. A bug in the program is no such reason."""
        try:
            self.store_video(video, writer)
        except VideoError as error:
            return str(error)
        except cv2.error as error:
            return f"OpenCV: {error.err}"
        except MemoryError:
            return "it does not fit into memory"
        return None

    def _crops(self, video: Video, person: Person) -> Iterator[PreparedFrame]:
        """Crop and mask of every frame on the person's track."""
        size = self._config.size
        windows = smooth_windows(
            person.track.boxes,
            frame_rate_hz=video.frame_rate_hz,
            margin=self._config.margin,
            smoothing_seconds=self._config.smoothing_seconds,
        )
        oversampling = oversampling_of(windows, size)
        first = person.track.first_frame
        pictures = islice(video.pictures(start=first), len(windows))
        for number, (picture, window) in enumerate(zip(pictures, windows, strict=True), first):
            crop = cut(picture, window, size, oversampling)
            mask = person.mask(number, crop, window, oversampling)
            yield PreparedFrame(crop, mask, None, window)

    def _with_flow(self, frames: Iterator[PreparedFrame]) -> Iterator[PreparedFrame]:
        """Add to every frame but the first the flow that leads to it."""
        last = next(frames)
        yield last
        while batch := list(islice(frames, self._flow.pairs_per_batch)):
            crops = np.stack([frame.rgb for frame in [last, *batch]])
            flows: Float32[np.ndarray, "pairs size size 2"] = self._flow(crops[:-1], crops[1:])
            for frame, flow in zip(batch, flows, strict=True):
                yield frame._replace(flow=flow)
            last = batch[-1]


def preprocess(config: PreprocessConfig) -> None:
    """Preprocess every labelled video into a clip store; what is there already is skipped.

    One video's failure never costs the others: the store is finished without it.

    Raises:
        LabelsError: If anything is wrong with the labels or their videos; before any work.
        FlowWeightsError: If the flow network's weights cannot be had; before any work.
        StoreError: If the store exists and was made in another way.
        SystemExit: At the end, if a video failed.
    """
    labels = read_labels(Path(config.labels), Path(config.videos))
    weights_file = Path(config.flow_weights) if config.flow_weights else None
    flow_weights = FLOWS[config.flow].load_weights(weights_file)
    preprocessor = Preprocessor(config.recipe, flow_weights)
    writer = StoreWriter(config.store, preprocessor.recipe, preprocessor.backends, flow_weights)
    stored, failures, num_skipped = _store_all(labels, Path(config.videos), preprocessor, writer)
    if not stored.empty:
        writer.finish(stored, failures)
    print(
        f"{len(stored)} of {len(labels)} videos are in {config.store}: "
        f"{len(stored) - num_skipped} new, {num_skipped} there already, {len(failures)} failed."
    )
    if failures:
        raise SystemExit(1)


def _store_all(
    labels: pd.DataFrame, videos: Path, preprocessor: Preprocessor, writer: StoreWriter
) -> tuple[pd.DataFrame, list[dict[str, str]], int]:
    """Store what is not in the store; give the labels of what is now, failures, and skipped."""
    rows, keys = [], []
    failures: list[dict[str, str]] = []
    num_skipped = 0
    names = labels["video"].items()
    progress = progress_bar(names, total=len(labels), title="preprocess", unit="video")
    for row, name in progress:
        key = video_key(file_sha256(videos / name))
        if writer.facts(key) is not None:
            num_skipped += 1
        elif reason := preprocessor.failure(videos / name, writer):
            progress.write(f"{name}: {reason}")
            failures.append({"video": name, "reason": reason})
            continue
        rows.append(row)
        keys.append(key)
    return labels.loc[rows].assign(key=keys), failures, num_skipped


def _config_of(recipe: Mapping[str, object]) -> PreprocessConfig:
    places = {"videos": "none", "labels": "none"}
    config = TypeAdapter(PreprocessConfig).validate_python({**places, **recipe})
    if missing := sorted(config.recipe.keys() - recipe.keys()):
        raise ValueError(f"the recipe lacks: {', '.join(missing)}")
    if other := sorted(recipe.keys() - config.recipe.keys()):
        raise ValueError(f"the recipe holds more than a recipe: {', '.join(other)}")
    return config


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """DIS splits a picture by the number of threads: its result must not depend on the machine."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
