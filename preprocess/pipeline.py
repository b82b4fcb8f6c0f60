"""What happens to one video on its way into a clip store."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import Float32, Int, UInt8
from pydantic import TypeAdapter
from zarr.abc.store import Store

import asd_experiments
from asd_experiments.config import PreprocessConfig
from asd_experiments.data.store_layout import PreparedFrame, Presence, VideoFacts, video_key
from asd_experiments.data.store_writer import StoreWriter
from asd_experiments.data.video_file import DEFAULT_BOUNDS, VideoBounds, file_sha256
from asd_experiments.errors import InputError
from asd_experiments.user_file import no_file
from preprocess.crop import cut, oversampling_of, smooth_windows
from preprocess.decode import Video, VideoError, probe
from preprocess.flow import flow_method
from preprocess.method import Method, MethodError, WeightsSource
from preprocess.people import person_finder_method
from preprocess.people.finder import Person
from preprocess.people.track import Track
from preprocess.segment import segmenter_method

_BATCH_FRAMES = 16
_KEPT_SIDES = 2.0  # height of the pictures kept at hand, in sides of the stored crops
_ENLARGED = 1.1  # as much may a picture at hand be enlarged before it is decoded again


class Preprocessor:
    """Everything that happens to one video on its way into a clip store.

    Args:
        recipe: Parameters as `PreprocessConfig.recipe` gives them and a store's root carries them.
        weights: Weights of the networks it takes, by role, as `load_weights` gives them.
        bounds: What the videos must keep to.

    Attributes:
        device: Kind of device that its networks compute on, "cpu" or "cuda"; None where no method
            would take a GPU.

    Raises:
        ValueError: If the recipe lacks a parameter or holds an unknown one or a wrong value.
        MethodError: If a method needs a library or weights and has none, or the other way round.
    """

    def __init__(
        self,
        recipe: Mapping[str, object],
        weights: Mapping[str, bytes] | None = None,
        bounds: VideoBounds = DEFAULT_BOUNDS,
    ) -> None:
        self._config = _config_of(recipe)
        self.recipe = self._config.recipe
        self.weights = dict(weights or {})
        self._bounds = bounds
        methods = _methods(self._config)
        self._libraries = sorted({name for m in methods.values() for name in m.libraries})
        on_gpu = any(method.on_gpu for method in methods.values())
        self.device = device_here() if on_gpu else None
        people, flow = person_finder_method(self._config.people), flow_method(self._config.flow)
        self._find_person = people.build(self.weights.get("people"))
        self._flow = flow.build(self.weights.get("flow"))
        self._segment = None
        if self._config.segment is not None:
            segmenter = segmenter_method(self._config.segment)
            self._segment = segmenter.build(self.weights.get("segment"))

    @property
    def backends(self) -> dict[str, str]:
        """Name and version of everything that computes what is stored, and the kind of device.

        On a GPU networks compute in another precision: one store holds one kind alone.
        """
        device = {"device": self.device} if self.device is not None else {}
        return {"asd_experiments": asd_experiments.__version__, **self.libraries, **device}

    @property
    def libraries(self) -> dict[str, str]:
        """Name and version of every distribution among the `backends` but this project's."""
        names = {"av", "opencv-python-headless", *self._libraries}
        return {name: version(name) for name in sorted(names)}

    def store_video(
        self, video: Path, writer: StoreWriter, *, source_sha256: str | None = None
    ) -> VideoFacts:
        """Find the person, cut, segment, compute flow, and write it all into a store.

        The video is never held in memory.

        Args:
            video: The file.
            writer: The store.
            source_sha256: SHA-256 of the file, where it is known already.

        Raises:
            VideoError: If the video cannot be decoded or shows nobody.
        """
        with _one_thread():
            least_height = round(_KEPT_SIDES * self._config.size)
            source = probe(
                video, fps=self._config.fps, least_height=least_height, bounds=self._bounds
            )
            person = self._find_person(source)
            if self._segment is not None:
                person = self._segment(source, person.track)
            facts = _facts(source_sha256 or file_sha256(video), source, person.track)
            writer.write(facts, person.track.presence, self._frames(source, person))
        return facts

    def failure(
        self, video: Path, writer: StoreWriter, *, source_sha256: str | None = None
    ) -> str | None:
        """Store one video; say why it could not be. A bug in the program is no such reason.

        Raises:
            StoreError: If the store cannot be written: no video could be stored then.
            ScratchError: If there is no room for temporary files.
        """
        try:
            self.store_video(video, writer, source_sha256=source_sha256)
        except VideoError as error:
            return str(error)
        except cv2.error as error:
            return f"OpenCV: {error.err}"
        except MemoryError:
            return "it does not fit into memory"
        except av.error.FFmpegError as error:
            return f"its pictures cannot be converted: {error.strerror}"
        except RuntimeError as error:
            torch = sys.modules.get("torch")  # in use only if a method needs it
            if torch is None or not isinstance(error, torch.OutOfMemoryError):
                raise
            return "it does not fit into the GPU's memory"
        return None

    def store_alone(self, video: Path, store: str | Store, *, label: str) -> str | None:
        """Make a clip store of one video alone; say why it could not be.

        Args:
            video: The file.
            store: Folder, or Zarr store object, to make it in.
            label: What the store says that the video is labelled.

        Raises:
            StoreError: If the store cannot be written.
            ScratchError: If there is no room for temporary files.
        """
        writer = StoreWriter(store, self.recipe, self.backends)
        try:
            sha256 = file_sha256(video)
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        if reason := self.failure(video, writer, source_sha256=sha256):
            return reason
        row = {"video": "video", "patient_id": "", "label": label}
        writer.finish([{**row, "key": video_key(sha256)}], failures=[])
        return None

    def _frames(self, video: Video, person: Person) -> Iterator[PreparedFrame]:
        """Crop, mask and flow of every frame on the person's track."""
        windows = self._windows(video, person.track)
        detail = float((windows[:, 2] - windows[:, 0]).min()) / self._config.size
        shrink = video.shrink_for(detail, enlarged=_ENLARGED)
        pictures = _pictures_at(video, person.track.frames, shrink)
        oversampling = oversampling_of(windows / shrink, self._config.size)
        for stretch in person.track.stretches:
            last = None
            for start in range(stretch.start, stretch.stop, _BATCH_FRAMES):
                batch = windows[start : min(start + _BATCH_FRAMES, stretch.stop)]
                crops = np.stack(
                    [
                        cut(next(pictures), window / shrink, self._config.size, oversampling)
                        for window in batch
                    ]
                )
                masks = person.masks(start, crops, batch)
                flows = self._flows_to(crops, last)
                if start == 0:
                    flows = [None, *flows[1:]]
                yield from map(PreparedFrame, crops, masks, flows, batch)
                last = crops[-1]

    def _windows(self, video: Video, track: Track) -> Float32[np.ndarray, "time 4"]:
        """Crop windows of the whole track; every stretch is smoothed on its own."""
        return np.concatenate(
            [
                smooth_windows(
                    track.boxes[stretch],
                    frame_rate_hz=video.frame_rate_hz,
                    margin=self._config.margin,
                    smoothing_seconds=self._config.smoothing_seconds,
                )
                for stretch in track.stretches
            ]
        )

    def _flows_to(
        self,
        crops: UInt8[np.ndarray, "time size size 3"],
        last: UInt8[np.ndarray, "size size 3"] | None,
    ) -> Sequence[Float32[np.ndarray, "size size 2"] | None]:
        """Flow that leads to every crop from the one before; zero where there is none before."""
        chain = crops if last is None else np.concatenate([last[None], crops])
        flows = list(self._flow(chain[:-1], chain[1:])) if len(chain) > 1 else []
        return flows if last is not None else [np.zeros((*crops.shape[1:3], 2), np.float32), *flows]


def load_weights(config: PreprocessConfig) -> dict[str, bytes]:
    """Weights of every method that has any, by role.

    Raises:
        MethodError: If a library or weights cannot be had; it lists all that is missing.
    """
    weights, problems = {}, []
    for role, method in _methods(config).items():
        name = getattr(config, f"{role}_weights")
        file = Path(name) if name else None
        try:
            content = method.load_weights(
                WeightsSource(file, getattr(config, f"{role}_config", None))
            )
        except InputError as error:
            problems.append(str(error))
            # Without its library a method did not come to look for the file.
            if isinstance(error.__cause__, ImportError) and file and not file.exists():
                problems.append(no_file(file, f"{role}_weights"))
            continue
        if content is not None:
            weights[role] = content
    _refuse(problems)
    return weights


def _refuse(problems: Sequence[str]) -> None:
    if len(problems) == 1:
        raise MethodError(problems[0])
    if problems:
        raise MethodError("\n  ".join([f"{len(problems)} problems with the methods:", *problems]))


def _methods(config: PreprocessConfig) -> dict[str, Method[object]]:
    """Every method that a configuration asks for, by role."""
    methods: dict[str, Method[object]] = {"people": person_finder_method(config.people)}
    if config.segment is not None:
        methods["segment"] = segmenter_method(config.segment)
    return {**methods, "flow": flow_method(config.flow)}


def device_here() -> str:
    """Kind of device that networks compute on in this process: "cuda" or "cpu"."""
    from preprocess.network import best_device  # PyTorch is for methods that need it

    return best_device().type


def _facts(source_sha256: str, video: Video, track: Track) -> VideoFacts:
    seen = int(np.isin(track.presence, (Presence.LEFT_OUT, Presence.SEEN)).sum())
    bridged = int((track.presence == Presence.BRIDGED).sum())
    return VideoFacts(
        source_sha256=source_sha256,
        num_frames=len(track.frames),
        stretches=[[int(track.frames[s.start]), s.stop - s.start] for s in track.stretches],
        frame_rate_hz=video.frame_rate_hz,
        source_frames=video.num_frames,
        source_height=video.height,
        source_width=video.width,
        person_share=seen / video.num_frames,
        bridged_share=bridged / len(track.frames),
        num_people=track.num_people,
        num_switches=track.num_switches,
    )


def _pictures_at(
    video: Video, frames: Int[np.ndarray, " time"], shrink: int
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    first, wanted = int(frames[0]), set(frames.tolist())
    for number, picture in enumerate(video.pictures(shrink, start=first), first):
        if number in wanted:
            yield picture


def _config_of(recipe: Mapping[str, object]) -> PreprocessConfig:
    places = {"videos": "none", "labels": "none"}
    config = TypeAdapter(PreprocessConfig).validate_python({**places, **recipe})
    if missing := sorted(config.recipe.keys() - recipe.keys()):
        raise ValueError(f"the recipe lacks: {', '.join(missing)}")
    if other := sorted(recipe.keys() - config.recipe.keys()):
        raise ValueError(f"the recipe holds more than a recipe: {', '.join(other)}")
    return config


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep OpenCV and PyTorch to one thread: what is computed must not depend on the machine.

    DIS splits a picture, and a network its sums, by the number of threads.
    """
    threads = [(cv2.getNumThreads(), cv2.setNumThreads)]
    if torch := sys.modules.get("torch"):  # in use only if a method needs it
        threads.append((torch.get_num_threads(), torch.set_num_threads))
    for _, set_number in threads:
        set_number(1)
    try:
        yield
    finally:
        for number, set_number in threads:
            set_number(number)
