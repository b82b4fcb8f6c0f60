"""The logged model behind MLflow's scoring server, where strangers send requests.

MLflow loads the model and knows nothing of videos. What it cannot do is done here: only what the
operator allows is read, a video is looked at in a process that may die of it, and what goes wrong
is answered in words, without a stack trace, which would tell the paths of this machine.
"""

import atexit
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Annotated, Any

import pandas as pd
from mlflow.environment_variables import MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, TEMPORARILY_UNAVAILABLE, ErrorCode
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server import InvocationsResponse
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from asd_experiments.data.store import ClipStore
from asd_experiments.data.video_file import VideoBounds
from asd_experiments.errors import InputError, told_problems
from asd_experiments.tracking.answers import RequestedVideo
from asd_experiments.tracking.model import TwoStreamVideoModel
from asd_experiments.tracking.model_signature import PredictOptions
from asd_experiments.tracking.model_spec import FINAL
from asd_experiments.tracking.video_input import AllowedInput
from preprocess.decode import VideoError
from preprocess.isolated import IsolatedPreprocessor
from preprocess.scratch import room_for

_PREFIX = "ASD_VIDEO_"
_MARGIN_SECONDS = 5  # before MLflow gives up on a request, which is then answered without a reason
_LARGEST_BATCH = 16  # no request is given up in the middle of a batch
_MOST_VIDEOS = 1000  # of a request, each of which has a row in the answer
_MOST_MARKS = 100_000  # of JSON: a video has two or three, a table of all has a dozen more
_SHORTEST_LINE = 60  # of CSV, on average: base64 has lines of 64 or 76 characters, or is one
_BODY_SLACK = 1.1  # line breaks of base64, and the JSON around it
_FORMS = {"dataframe_records", "dataframe_split", "inputs", "instances", "params"}
_LONGEST_MESSAGE = 2000
_LONGEST_NAMED = 200
_UNFORESEEN = "Encountered an unexpected error"  # begins what MLflow says of any other exception

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServingLimits:
    """What a request may ask for.

    The environment variable of a limit is its name in capitals after ASD_VIDEO_.
    """

    most_megabytes: Annotated[float, Field(gt=0)] = 200.0
    """Size of a video file, and of all that is sent in a request, in millions of bytes."""

    most_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Length of a video, seconds."""

    most_frames: Annotated[int, Field(ge=2)] = 3600
    """Frames of a video: those of the longest one at 60 Hz."""

    largest_side_px: Annotated[int, Field(ge=16)] = 4096
    """Longest side of a picture, pixels."""

    most_people: Annotated[int, Field(ge=1)] = 1
    """People in a video who are followed as if each was the patient."""

    most_memory_gib: Annotated[float, Field(gt=0)] = 4.0
    """Memory of the process that preprocesses videos, GiB; no limit where a GPU does it."""

    @classmethod
    def told(cls, environment: Mapping[str, str]) -> "ServingLimits":
        """Read the limits that the operator sets.

        Raises:
            InputError: With every one that is wrong.
        """
        variables = {name: f"{_PREFIX}{name.upper()}" for name in cls.__dataclass_fields__}
        values = {n: environment[v] for n, v in variables.items() if v in environment}
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            problems = told_problems(error.errors(), variables.__getitem__)
            raise InputError("; ".join(problems)) from error

    @property
    def most_bytes(self) -> int:
        """Size of a video file, bytes."""
        return int(self.most_megabytes * 1e6)

    @property
    def bounds(self) -> VideoBounds:
        """What a video must keep to."""
        return VideoBounds(self.most_seconds, self.most_frames, self.largest_side_px)


class ServedModel(TwoStreamVideoModel):
    """The logged model, for strangers: one request at a time.

    Args:
        folder: The model's files.
        limits: What a request may ask for.
        allowed: What may be read for it.
        seconds: Time that it may take.

    Raises:
        InputError: If the process that preprocesses videos cannot begin.
    """

    def __init__(
        self, folder: Path, *, limits: ServingLimits, allowed: AllowedInput, seconds: float
    ) -> None:
        super().__init__(folder, allowed)
        self._limits = limits
        self._seconds = seconds
        self._deadline = 0.0
        self._scratch = Path()
        # Preprocessing counts threads for the whole process, and memory is for one.
        self._turn = Lock()
        on_gpu = self._preprocessor.device == "cuda"
        self._isolated = IsolatedPreprocessor(
            self.spec.recipe,
            self._preprocessor.weights,
            bounds=limits.bounds,
            most_bytes=None if on_gpu else int(limits.most_memory_gib * 2**30),
        )
        atexit.register(self._isolated.close)
        for number in self.spec.networks(FINAL):
            self.network(number)  # now, so that no request waits for it

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify videos when it is their turn, see `TwoStreamVideoModel.predict`.

        Raises:
            MlflowException: As there, and if there are too many or its turn does not come in time.
        """
        if len(model_input) > _MOST_VIDEOS:
            raise MlflowException(
                f"a request must have {_MOST_VIDEOS} videos at most, got {len(model_input)}",
                error_code=BAD_REQUEST,
            )
        asked = time.monotonic()
        if not self._turn.acquire(timeout=self._seconds):
            raise _busy()
        waited = time.monotonic() - asked
        try:
            self._deadline = asked + self._seconds
            return super().predict(model_input, params)
        except MlflowException as error:
            if waited > _MARGIN_SECONDS and time.monotonic() >= self._deadline:
                raise _busy() from error  # no fault of the video's
            raise
        finally:
            self._turn.release()

    def options(self, params: Mapping[str, Any] | None = None) -> PredictOptions:
        """Check the parameters of a prediction; strangers may not ask for any amount of work.

        Raises:
            InputError: As in `TwoStreamVideoModel.options`, and if one asks for too much.
        """
        options = super().options(params)
        if options.batch_size > _LARGEST_BATCH:
            raise InputError(
                f"batch_size must be at most {_LARGEST_BATCH} here, got {options.batch_size}"
            )
        if not {*self.spec.networks(options.fold)} <= {*self.spec.networks(FINAL)}:
            raise InputError(
                f"fold must be {FINAL} here, got {options.fold}: the server answers with the "
                "refitted network alone"
            )
        if 0 < options.clip_stride < self.spec.clip_stride:
            raise InputError(
                f"clip_stride must be 0 (as trained) or at least {self.spec.clip_stride} here, "
                f"got {options.clip_stride}"
            )
        return options

    def _row(self, cell: object, patient: str | None, options: PredictOptions) -> RequestedVideo:
        with _scratch_folder() as self._scratch:
            return super()._row(cell, patient, options)

    def _video_file(self, cell: object) -> AbstractContextManager[Path]:
        return self._allowed.video_file(cell, seconds=self._seconds_left())

    def _seconds_left(self) -> float:
        """Time that is left for the request.

        Raises:
            VideoError: If there is none.
        """
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise VideoError(
                f"a request has {self._seconds:.0f} s, which are over; send fewer videos at once, "
                "or a shorter one"
            )
        return seconds

    def _before_batch(self) -> None:
        self._seconds_left()

    def _prepared(self, video: Path) -> ClipStore:
        """A clip store that holds this video alone, made by a process that may die of it."""
        seconds = self._seconds_left()
        store = self._scratch / "store.zarr"
        label = self.spec.classes[0]
        if reason := self._isolated.store_alone(video, store, label=label, seconds=seconds):
            raise VideoError(reason)
        stored = ClipStore(str(store))
        if (people := int(stored.videos["num_people"].iloc[0])) > self._limits.most_people:
            raise VideoError(
                f"{people} people were followed in it, at most {self._limits.most_people} may be; "
                "cut the video so that the patient is alone in it"
            )
        return stored


def served_model(folder: Path, environment: Mapping[str, str] | None = None) -> ServedModel:
    """Load the model in MLflow's scoring server, and see to what that server says.

    Args:
        folder: The model's files.
        environment: What the operator sets; None: the environment of this process.

    Raises:
        InputError: If what the operator sets is wrong.
    """
    environment = os.environ if environment is None else environment
    limits = ServingLimits.told(environment)
    allowed = AllowedInput.told(environment, served=True, most_bytes=limits.most_bytes)
    timeout = float(MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT.get())
    seconds = max(timeout - _MARGIN_SECONDS, timeout / 2)
    model = ServedModel(folder, limits=limits, allowed=allowed, seconds=seconds)
    guard_scoring_server(most_bytes=limits.most_bytes)
    return model


def _busy() -> MlflowException:
    return MlflowException(
        "the server is busy with other requests; try again later",
        error_code=TEMPORARILY_UNAVAILABLE,
    )


def guard_scoring_server(*, most_bytes: int) -> None:
    """Have MLflow's scoring server of this process answer every bad request in words.

    As it is, it sends a stack trace to whoever sends a CSV file that it cannot parse or meets a
    mistake of ours, repeats a request in its answer, and answers some requests with a bare 500. And
    it unpacks Parquet, a small file of which can fill the memory.

    Args:
        most_bytes: Size of all videos of a request together.
    """
    invocations: Callable[..., InvocationsResponse] = scoring_server.invocations
    most_body = int(most_bytes * 4 / 3 * _BODY_SLACK) + 2**20

    @wraps(invocations)
    def guarded(data: bytes, content_type: str | None, *arguments: object) -> InvocationsResponse:
        kind = (content_type or "").partition(";")[0].strip().lower()
        if kind not in (scoring_server.CONTENT_TYPE_JSON, scoring_server.CONTENT_TYPE_CSV):
            text = "the header Content-Type must be application/json or text/csv"
            return InvocationsResponse(text, 415, "text/plain")
        if len(data) > most_body:
            text = (
                f"the videos of a request must have {most_bytes / 1e6:g} MB at most, got "
                f"{len(data) / 1e6:.0f} MB of base64; cut the walks out of them, or send fewer"
            )
            return InvocationsResponse(text, 413, "text/plain")
        if _is_crowded(data, kind):
            text = f"the request has too many parts; {_MOST_VIDEOS} videos are allowed"
            return InvocationsResponse(text, 413, "text/plain")
        if kind == scoring_server.CONTENT_TYPE_JSON:
            _check_words(data)
        try:
            return invocations(data, content_type, *arguments)
        except MlflowException as error:
            raise _told(error) from None
        except Exception:  # what MLflow itself does not expect
            _logger.exception("a request cannot be read")
            raise _unreadable("the request cannot be read") from None

    scoring_server.invocations = guarded


def _check_words(data: bytes) -> None:
    """Refuse words that MLflow would pass over: who misspells a parameter wants another answer.

    Raises:
        MlflowException: If the body is no JSON either.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"the body is no JSON ({error})") from None
    if not isinstance(content, dict):
        raise _unreadable("the body is no JSON object")
    given = content.get("params")
    options = {field.name for field in fields(PredictOptions)}
    unknown = [*(set(content) - _FORMS), *(set(given) - options if isinstance(given, dict) else ())]
    if unknown:
        raise _unreadable(
            f"unknown: {', '.join(map(repr, sorted(unknown)))[:_LONGEST_NAMED]}; params may hold "
            f"{', '.join(sorted(options))}"
        )


def _unreadable(what: str) -> MlflowException:
    example = '{"dataframe_records": [{"video": BASE64}], "params": {"fold": -1}}'
    return MlflowException(f"{what}; send JSON like {example}", error_code=BAD_REQUEST)


def _is_crowded(data: bytes, kind: str) -> bool:
    """Whether a body would unpack to very many objects: a few bytes each become a hundred."""
    if kind == scoring_server.CONTENT_TYPE_JSON:
        return sum(data.count(mark) for mark in (b"{", b"[", b",")) > _MOST_MARKS
    return data.count(b"\n") + data.count(b",") > _MOST_MARKS + len(data) // _SHORTEST_LINE


def _told(error: MlflowException) -> MlflowException:
    """What a stranger is told of an error: no trace, and not the whole request again."""
    message, code = str(error.args[0]), error.error_code
    if trace := error.json_kwargs.get("stack_trace"):
        _logger.error("a request failed: %s\n%s", message[:_LONGEST_MESSAGE], trace)
    if message.startswith(_UNFORESEEN):
        message, code = "the server made a mistake; its log tells which", "INTERNAL_ERROR"
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]} ..."
    return MlflowException(message, error_code=ErrorCode.Value(code))


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    with room_for("a clip store"):
        folder = TemporaryDirectory(prefix="request_", ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name)
