"""The logged model behind `mlflow models serve`: what strangers get for what they send."""

import base64
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server import InvocationsResponse

from asd_experiments.errors import InputError
from asd_experiments.tracking import serving
from asd_experiments.tracking.model import load_trial_model
from asd_experiments.tracking.model_signature import output_columns
from asd_experiments.tracking.serving import ServedModel, ServingLimits, guard_scoring_server
from asd_experiments.tracking.video_input import ROOTS, AllowedInput
from tests.preprocess.encode import encode, numbered
from tests.preprocess.films import ellipse, film, walk, wall, write_video
from tests.preprocess.test_isolated import bomb
from tests.tracking.served import ADDRESS, Answer, Server, serve
from tests.tracking.untrained import register_untrained

HEIGHT, WIDTH = 96, 160


def test_limits_are_those_that_the_operator_sets() -> None:
    assert ServingLimits.told({}) == ServingLimits()
    told = {"ASD_VIDEO_MOST_MEGABYTES": "50", "ASD_VIDEO_MOST_FRAMES": "900"}
    limits = ServingLimits.told({**told, "ASD_VIDEO_ROOTS": "/videos"})
    assert (limits.most_bytes, limits.bounds.most_frames) == (50_000_000, 900)
    assert limits.bounds.largest_side_px == 4096
    wrong = {"ASD_VIDEO_MOST_SECONDS": "long", "ASD_VIDEO_MOST_FRAMES": "1"}
    with pytest.raises(InputError, match=r"MOST_SECONDS: .*number.*'long'; ASD_VIDEO_MOST_FRAMES"):
        ServingLimits.told(wrong)


class Broken:
    """A model with a mistake in it."""

    metadata = None

    def predict(self, data: object, params: object = None) -> object:
        raise KeyError("/root/secret")


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes, str], InvocationsResponse]:
    """What MLflow's server does with a request, guarded, with a broken model."""
    monkeypatch.setattr(scoring_server, "invocations", scoring_server.invocations)
    guard_scoring_server(most_bytes=1000)
    return lambda body, kind: scoring_server.invocations(body, kind, Broken(), None)


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (b'{"inputs": [1]}', "application/json", 500, "the server made a mistake; its log tells"),
        (b'video\n"', "text/csv", 400, "Failed to parse input as a Pandas DataFrame"),
    ],
)
def test_traces_go_to_the_log_alone(guarded, body, kind, status, message, caplog) -> None:
    invocations = scoring_server.invocations.__wrapped__
    with pytest.raises(MlflowException) as unguarded:
        invocations(body, kind, Broken(), None)
    assert "Traceback" in unguarded.value.serialize_as_json()  # what MLflow alone would send
    with pytest.raises(MlflowException, match=message) as caught:
        guarded(body, kind)
    assert caught.value.get_http_status_code() == status
    assert "Traceback" not in caught.value.serialize_as_json()
    assert "secret" not in caught.value.serialize_as_json()
    assert "Traceback" in caplog.text


def test_what_mlflow_does_not_expect_is_refused(guarded, monkeypatch, caplog) -> None:
    def fails(*_: object) -> InvocationsResponse:
        raise RuntimeError("nobody has thought of this")

    with monkeypatch.context() as patch:
        patch.setattr(scoring_server, "invocations", fails)
        guard_scoring_server(most_bytes=1000)
        with pytest.raises(MlflowException, match="the request cannot be read; send") as caught:
            scoring_server.invocations(b'{"inputs": [1]}', "application/json", Broken(), None)
    assert caught.value.get_http_status_code() == 400
    assert "nobody has thought of this" in caplog.text
    assert guarded(bytes(2 * 2**20), "application/json").status == 413
    assert guarded(b"PAR1", "application/vnd.apache.parquet").status == 415


def test_a_request_is_not_sent_back(guarded) -> None:
    for body, told in (
        (b"A" * 2**20, "the body is no JSON \\(Expecting value: line 1 column 1"),
        (b"[" * 100_000, "the body is no JSON \\(maximum recursion depth"),
        (b"[]", "the body is no JSON object; send JSON like"),
    ):
        with pytest.raises(MlflowException, match=told) as caught:
            guarded(body, "application/json")
        assert caught.value.get_http_status_code() == 400
        assert len(caught.value.serialize_as_json()) < 1000


@pytest.mark.parametrize(
    ("content", "unknown"),
    [
        ({"inputs": [], "params": {"folds": 0}}, "unknown: 'folds'; params may hold batch_size"),
        ({"inputs": [], "parameters": {"fold": 0}}, "unknown: 'parameters'; params may hold"),
    ],
)
def test_a_word_that_mlflow_would_pass_over_is_refused(guarded, content, unknown) -> None:
    with pytest.raises(MlflowException, match=unknown) as caught:
        guarded(json.dumps(content).encode(), "application/json")
    assert caught.value.get_http_status_code() == 400


@pytest.fixture(scope="module")
def registered(project_folder: Path) -> str:
    """Address of a registered model."""
    register_untrained(project_folder / "files", "candidate")
    return ADDRESS


def write_without_frames(path: Path) -> None:
    """A file with a video stream that never begins."""
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        container.start_encoding()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a walk, two walkers, and what is no walk."""
    folder = tmp_path_factory.mktemp("videos")
    scene = wall(HEIGHT, WIDTH)
    write_video(folder / "walk.mp4", film(walk(HEIGHT, WIDTH, 40), scene))
    wide = wall(HEIGHT, 4 * WIDTH)
    ways = zip(np.linspace(60, 280, 50), np.linspace(580, 400, 50), strict=True)
    two = [ellipse(HEIGHT, 4 * WIDTH, a) | ellipse(HEIGHT, 4 * WIDTH, b) for a, b in ways]
    write_video(folder / "two.mp4", film(two, wide))
    write_video(folder / "nobody.mp4", film([np.zeros((HEIGHT, WIDTH), np.uint8)] * 40, scene))
    encode(folder / "one_frame.mp4", numbered(1))
    write_without_frames(folder / "no_frame.mkv")
    write_video(folder / "60.mp4", film(walk(HEIGHT, WIDTH, 60), scene))
    encode(folder / "8k.mp4", [np.zeros((4320, 7680, 3), np.uint8)] * 2)
    encode(folder / "huge.png.avi", [np.zeros((32, 5000, 3), np.uint8)] * 2, codec="png",
           pixels="rgb24")  # fmt: skip
    encode(folder / "oblong.mkv", numbered(3, 64, 96), codec="mpeg4", aspect=Fraction(60))
    late = [*range(0, 1160, 40), 3_600_000]
    encode(folder / "long.mp4", numbered(30), milliseconds=late, options={"bf": "0"})
    encode(folder / "many.mkv", (frame for frame in numbered(2) * 2000), rate=1000)
    bomb(folder / "bomb.mp4", 500_000_000)
    content = (folder / "walk.mp4").read_bytes()
    (folder / "part.mp4").write_bytes(content[: len(content) // 2])
    (folder / "text.mp4").write_text("a text")
    (folder / "list.mp4").write_text(f"ffconcat version 1.0\nfile {folder / 'walk.mp4'}\n")
    (folder / "zeros.mp4").write_bytes(bytes(10_000))
    (folder / "zlib.mp4").write_bytes(zlib.compress(bytes(10**8)))
    (folder / "link.mp4").symlink_to("/etc/hostname")
    return folder


def sent(video: Path) -> str:
    return base64.b64encode(video.read_bytes()).decode()


@pytest.fixture(scope="module")
def server(registered: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as it is without any setting."""
    folder = tmp_path_factory.mktemp("server")
    with serve(folder / "log", {"TMPDIR": str(folder)}) as server:
        before = processes(server)
        yield server
        assert processes(server) == before  # no worker died
        assert [path.name for path in folder.iterdir()] == ["log"]


def processes(server: Server) -> list[int]:
    """The server and its workers, without the process that may die."""
    return [server.process.pid, *(
        child.pid for child in psutil.Process(server.process.pid).children()
        if "uvicorn" in " ".join(child.cmdline())
    )]  # fmt: skip


def refusal(answer: Answer) -> str:
    """The message of an answer that refuses, after a look for what no stranger shall see."""
    assert 400 <= answer.status < 500, answer
    assert len(answer.text) < 5000
    for sign in ("Traceback", "stack_trace", '.py\\"', "/tmp", "/root", "/home", "site-packages"):
        assert sign not in answer.text
    return answer.text


@pytest.mark.slow
def test_a_video_is_classified(server: Server, videos: Path, registered: str) -> None:
    answer = server.classify(sent(videos / "walk.mp4"))
    assert answer.status == 200, answer
    (row,) = answer.rows
    assert list(row) == list(output_columns(["ASD", "non_ASD"]))
    assert row["video"].endswith("characters of base64")
    assert row["problem"] == "" and row["num_clips"] == 5
    assert row["decision"] in ("ASD", "non_ASD")
    model = load_trial_model(registered)
    (expected,) = model.predict(pd.DataFrame({"video": [str(videos / "walk.mp4")]})).to_dict(
        "records"
    )
    assert row["probability_ASD"] == pytest.approx(expected["probability_ASD"], abs=1e-6)
    assert json.loads(row["versions"]) == json.loads(expected["versions"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody.mp4", "row 1: no person found"),
        ("two.mp4", "row 1: 2 people were followed in it, at most 1 may be"),
        ("no_frame.mkv", "row 1: it cannot be decoded at its start"),
        ("one_frame.mp4", "it must hold at least 2 frames"),
        ("8k.mp4", "at most 4096 pixels a side, got 7680x4320"),
        ("huge.png.avi", "at most 4096 pixels a side, got 5000x32"),
        ("oblong.mkv", "at most 4096 pixels a side, got 5760x64"),
        ("long.mp4", "it must last 60 s at most, got 36"),
        ("many.mkv", "it must have 3600 frames at most, got"),
        ("bomb.mp4", "must have 3600 frames at most, got 500000000"),
        ("part.mp4", "row 1: it cannot be decoded|row 1: it is truncated"),
        ("text.mp4", "it is a text file, not a video"),
        ("list.mp4", "it is a text file, not a video"),
        ("zeros.mp4", "it begins with zeros"),
        ("zlib.mp4", "it is not a video"),
    ],
)
def test_what_is_no_walk_is_refused(server: Server, videos: Path, name: str, reason: str) -> None:
    message = refusal(server.classify(sent(videos / name)))
    assert any(part in message for part in reason.split("|")), message


@pytest.mark.slow
def test_no_file_of_the_server_is_read(server: Server, videos: Path) -> None:
    for cell in (
        "not base64!",
        str(videos / "walk.mp4"),
        f"file://{videos}/walk.mp4",
        "../../../../etc/passwd",
        "/etc/passwd",
        "http://127.0.0.1:9/walk.mp4",
        "https://example.org/walk.mp4",
        "s3://bucket/walk.mp4",
    ):
        message = refusal(server.classify(cell))
        assert "row 1: it is not base64 of a video file; paths and addresses are not" in message


@pytest.fixture(scope="module")
def served_here(registered: str) -> Iterator[ServedModel]:
    """The served model in this process, without a server."""
    folder = Path(mlflow.artifacts.download_artifacts(registered))
    data = folder / Model.load(folder).flavors["python_function"]["data"]
    limits = ServingLimits()
    model = ServedModel(data, limits=limits, allowed=AllowedInput(()), seconds=60.0)
    yield model
    model._isolated.close()


class Clock:
    """Time that passes when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def pass_by(self, seconds: float, answer: object) -> Callable[..., object]:
        """A function that takes this long and gives an answer."""

        def take(*_: object, **__: object) -> object:
            self.now += seconds
            return answer

        return take


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(serving, "time", clock)
    return clock


@pytest.mark.slow
@pytest.mark.parametrize(
    ("waits", "comes", "code", "told"),
    [
        (60.0, False, "TEMPORARILY_UNAVAILABLE", "busy with other requests"),
        (54.0, True, "TEMPORARILY_UNAVAILABLE", "busy with other requests"),
        (0.0, True, "INVALID_PARAMETER_VALUE", "row 1: it takes too long"),
    ],
)
def test_who_only_waits_is_told_to_try_again(
    served_here: ServedModel,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    waits: float,
    comes: bool,
    code: str,
    told: str,
) -> None:
    """And who asks for more than there is time for is told so."""
    turn = SimpleNamespace(acquire=clock.pass_by(waits, comes), release=lambda: None)
    monkeypatch.setattr(served_here, "_turn", turn)
    slow = SimpleNamespace(store_alone=clock.pass_by(60.0 - waits, "it takes too long"))
    monkeypatch.setattr(served_here, "_isolated", slow)
    with pytest.raises(MlflowException) as caught:
        served_here.predict(pd.DataFrame({"video": [base64.b64encode(b"a walk").decode()]}))
    assert caught.value.error_code == code and told in str(caught.value)


@pytest.mark.slow
def test_a_video_that_takes_too_long_is_given_up(
    served_here: ServedModel, videos: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Also between two batches of its clips, and the others of its request are answered."""
    before_batch, passed = served_here._before_batch, []

    def count() -> None:
        """Two networks see two batches of each video; an hour goes by in the second video."""
        passed.append(None)
        clock.now = 3600.0 if len(passed) > 5 else 0.0
        before_batch()

    monkeypatch.setattr(served_here, "_before_batch", count)
    walk = sent(videos / "walk.mp4")
    table = served_here.predict(pd.DataFrame({"video": [walk, walk]}), {"batch_size": 4})
    assert len(passed) == 6 and table["problem"][0] == ""
    assert "a request has 60 s, which are over; send fewer videos at once" in table["problem"][1]


@pytest.mark.slow
def test_a_refitted_model_answers_with_the_network_that_it_has_loaded(
    served_here: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert served_here.options({"fold": 1}).fold == 1
    monkeypatch.setattr(served_here, "spec", replace(served_here.spec, final="refit"))
    assert served_here.options().fold == -1
    with pytest.raises(InputError, match="fold must be -1 here, got 1"):
        served_here.options({"fold": 1})


@pytest.mark.slow
def test_one_bad_video_does_not_cost_the_others(server: Server, videos: Path) -> None:
    good, bad = server.classify(sent(videos / "walk.mp4"), "/etc/passwd").rows
    assert (good["problem"], good["num_clips"]) == ("", 5)
    assert bad["problem"].startswith("it is not base64 of a video file")
    assert (bad["decision"], bad["probability_ASD"], bad["num_clips"]) == (None, None, 0)


GOOD = {"dataframe_records": [{"video": "AAAA"}]}

REQUESTS: list[tuple[bytes, str | None, int]] = [
    (b"", "application/json", 400),
    (b"{", "application/json", 400),
    (b"\xff\xfe", "application/json", 400),
    (b"[" * 100_000, "application/json", 400),
    (b"[]", "application/json", 400),
    (b"{}", "application/json", 400),
    (b"3", "application/json", 400),
    (json.dumps(GOOD).encode(), None, 415),
    (json.dumps(GOOD).encode(), "text/plain", 415),
    (json.dumps(GOOD).encode(), "application/json; charset=latin-1", 415),
    (json.dumps(GOOD).encode(), "application/json; boundary=x", 415),
    (b"[" + b"{}," * 200_000 + b"{}]", "application/json", 413),
    (b"video\n" + b"a\n" * 200_000, "text/csv", 413),
    (b"PAR1" + bytes(100) + b"PAR1", "application/vnd.apache.parquet", 415),
    (b'video\n"', "text/csv", 400),
    (b"\xff", "text/csv", 400),
    (b"", "text/csv", 400),
    (b"video,a\n1,2,3,4\n1,2\n", "text/csv", 400),
]


@pytest.mark.slow
def test_requests_that_cannot_be_read_are_refused(server: Server) -> None:
    for body, kind, status in REQUESTS:
        answer = server.post(body, kind)
        assert answer.status == status, (body[:50], kind, answer)
        refusal(answer)


@pytest.mark.slow
def test_requests_of_the_wrong_form_are_refused(server: Server, videos: Path) -> None:
    walk = sent(videos / "walk.mp4")
    walked = {"dataframe_records": [{"video": walk}]}
    for content in (
        {"dataframe_records": {"video": walk}},
        {"dataframe_records": [1, 2]},
        {"dataframe_records": []},
        {"dataframe_records": [{"film": walk}]},
        {"dataframe_records": [{"video": 3}]},
        {"dataframe_records": [{"video": None}]},
        {"dataframe_records": [{"video": [walk]}]},
        {"dataframe_records": [{"video": {"a": 1}}]},
        {"dataframe_records": [{"video": "\ud800"}]},
        {"dataframe_records": [{"video": "a\0b"}]},
        {"dataframe_split": {"columns": ["video"], "data": [["a", "b"]]}},
        {"dataframe_split": []},
        {"inputs": "/etc/passwd"},
        {"inputs": ["/etc/passwd"]},
        {"inputs": {"video": ["/etc/passwd"]}},
        {"instances": [{"video": "/etc/passwd"}]},
        {"instances": [{"video": {"a": [1]}}]},
        {**walked, "inputs": []},
        {**walked, "params": 3},
        {"messages": [{"role": "user", "content": "hello"}]},
        {**walked, "params": {"fold": 7}},
        {**walked, "params": {"fold": "x"}},
        {**walked, "params": {"batch_size": 10**9}},
        {**walked, "params": {"batch_size": 0}},
        {**walked, "params": {"clip_stride": 1}},
        {**walked, "params": {"device": "/etc/passwd"}},
    ):
        answer = server.post(json.dumps(content).encode())
        assert answer.status == 400, (str(content)[:200], answer)
        refusal(answer)


@pytest.mark.slow
def test_a_csv_file_is_as_good(server: Server, videos: Path) -> None:
    table = pd.DataFrame({"video": [sent(videos / "walk.mp4")], "patient_id": ["P01"]})
    text = io.StringIO()
    table.to_csv(text, index=False)
    (row,) = server.post(text.getvalue().encode(), "text/csv").rows
    assert (row["patient_id"], row["patient_num_videos"], row["problem"]) == ("P01", 1, "")


@pytest.mark.slow
def test_a_body_of_200_mb_is_refused(server: Server) -> None:
    text = b"A" * (4 * 2**20)
    over = b'{"dataframe_records": [{"video": "' + text * 64 + b'"}]}'
    message = refusal(server.post(over))  # 268 MB of base64: 201 MB of video
    assert "the video must have 200 MB at most, got" in message
    answer = server.post(text * 80)
    assert answer.status == 413
    assert "the videos of a request must have 200 MB at most" in refusal(answer)


@pytest.mark.slow
def test_what_the_operator_allows_is_read(registered: str, videos: Path, tmp_path: Path) -> None:
    """And two workers answer, within other limits."""
    settings = {**{ROOTS: str(videos), "ASD_VIDEO_MOST_FRAMES": "55", "ASD_VIDEO_MOST_PEOPLE": "2"}}
    with serve(tmp_path / "log", settings, "--workers", "2") as server:
        for cell in ("walk.mp4", str(videos / "walk.mp4"), sent(videos / "walk.mp4")):
            (row,) = server.classify(cell).rows
            assert row["problem"] == ""
        (row,) = server.classify("walk.mp4").rows
        assert row["video"] == "walk.mp4"
        for cell in ("link.mp4", "../x.mp4", "/etc/hostname", "none.mp4"):
            assert "it is neither base64 of a video file nor a" in refusal(server.classify(cell))
        (row,) = server.classify("two.mp4").rows
        assert "2 people were followed: is the one in the crop the patient?" in row["flags"]
        assert "must have 55 frames at most, got 60" in refusal(server.classify("60.mp4"))
