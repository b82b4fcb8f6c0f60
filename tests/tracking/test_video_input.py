"""What a cell of a request may name, and what it may not."""

import base64
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from asd_experiments.errors import InputError
from asd_experiments.tracking.video_input import (
    ROOTS,
    AllowedInput,
    VideoInputError,
    video_name,
)
from preprocess.scratch import ScratchError

CONTENT = bytes(range(256)) * 8
BASE64 = base64.b64encode(CONTENT).decode()
SERVED = AllowedInput(())
OWN = AllowedInput()

NOT_HERE = "it is neither base64 of a video file nor a file or address that may be read here"


def read(allowed: AllowedInput, cell: object) -> bytes:
    with allowed.video_file(cell) as path:
        content = path.read_bytes()
        assert path.is_file()
    return content


@pytest.mark.parametrize(
    "cell",
    [
        BASE64,
        f"  {BASE64}\n",
        base64.encodebytes(CONTENT).decode(),  # in lines, as the command base64 writes it
        f"data:video/mp4;base64,{BASE64}",
        BASE64.encode(),
        CONTENT,
    ],
)
@pytest.mark.parametrize("allowed", [SERVED, OWN])
def test_a_video_comes_with_the_request(cell: object, allowed: AllowedInput) -> None:
    assert read(allowed, cell) == CONTENT


def test_the_temporary_file_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with SERVED.video_file(BASE64) as path:
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="while it is read"), SERVED.video_file(BASE64):
        raise RuntimeError("while it is read")
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_not_the_requests_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    with pytest.raises(ScratchError, match="a video cannot be kept in the folder for temporary"):
        read(SERVED, BASE64)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "the cell 'video' is empty or no text"),
        ("  ", "the cell 'video' is empty or no text"),
        (None, "the cell 'video' is empty or no text"),
        (float("nan"), "the cell 'video' is empty or no text"),
        (3, "the cell 'video' is empty or no text"),
        (b"", "the video is empty"),
        ("data:video/mp4;base64,", "the video is empty"),
        ("data:video/mp4;base64,%%%%", "what follows ';base64,' is not base64"),
        ("not base64!", "it is not base64 of a video file; paths and addresses are not read here"),
        (BASE64[:-1], "it is not base64 of a video file"),
        (BASE64[:40] + "\ud800" + BASE64[40:], "it is not base64 of a video file"),
        (BASE64[:40] + "Ä" + BASE64[40:], "it is not base64 of a video file"),
        ("=" * 8, "it is not base64 of a video file"),
    ],
)
def test_what_is_no_video_is_told(cell: object, reason: str) -> None:
    with pytest.raises(VideoInputError, match=reason):
        read(SERVED, cell)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Videos below `allowed`, a secret beside it, and links out of it."""
    allowed = tmp_path / "allowed"
    (allowed / "p01").mkdir(parents=True)
    (allowed / "p01" / "walk 1.mp4").write_bytes(CONTENT)
    (allowed / "walk").write_bytes(CONTENT)
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (tmp_path / "allowed_not").mkdir()
    (tmp_path / "allowed_not" / "walk.mp4").write_bytes(b"secret")
    (allowed / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (allowed / "up").symlink_to(tmp_path)
    (allowed / "ring").symlink_to(allowed / "ring")
    (allowed / "inside.mp4").symlink_to(allowed / "p01" / "walk 1.mp4")
    os.mkfifo(allowed / "pipe")
    return allowed


def places(folder: Path) -> list[str]:
    """Ways to name files that are there, outside of what is allowed."""
    return [
        str(folder.parent / "secret.mp4"),
        f"{folder}/../secret.mp4",
        "../secret.mp4",
        "p01/../../secret.mp4",
        "link.mp4",
        "up/secret.mp4",
        "up/allowed/walk/../../secret.mp4",
        f"{folder}_not/walk.mp4",
        f"file://{folder.parent}/secret.mp4",
        f"file://localhost{folder.parent}/secret.mp4",
        f"FILE://{folder.parent}/secret.mp4",
        f"file://{folder}/%2e%2e/secret.mp4",
        f"local://{folder.parent}/secret.mp4",
        f"simplecache::file://{folder.parent}/secret.mp4",
        f"zip://x::file://{folder.parent}/secret.mp4",
        "/etc/passwd",
        "/dev/zero",
        "/proc/self/environ",
    ]


def refused(folder: Path) -> list[str]:
    """The same, and what is no file at all."""
    nothing = ["", "pipe", ".", "p01", "ring", "none.mp4", "a\0b.mp4", "a" * 5000 + "."]
    return [*places(folder), *(str(folder / name) for name in nothing)]


def test_nothing_outside_the_roots_is_read_when_served(folder: Path) -> None:
    allowed = AllowedInput((str(folder),))
    assert sum(Path(place).is_file() for place in places(folder)) >= 5
    for place in refused(folder):
        with pytest.raises(VideoInputError) as caught:
            read(allowed, place)
        assert str(caught.value) == NOT_HERE  # the same whether something is there or not


def test_no_file_at_all_is_read_when_served_without_roots(folder: Path) -> None:
    inside = [str(folder / "p01" / "walk 1.mp4"), "p01/walk 1.mp4", f"file://{folder}/walk"]
    for place in [*inside, *refused(folder)]:
        with pytest.raises(VideoInputError, match="it is not base64 of a video file"):
            read(SERVED, place)


def test_files_below_a_root_are_read(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    other = tmp_path_factory.mktemp("other")
    allowed = AllowedInput((str(other), str(folder)))
    for place in (
        str(folder / "p01" / "walk 1.mp4"),
        "p01/walk 1.mp4",
        f"{folder}/p01/../p01/walk 1.mp4",
        f"file://{folder}/p01/walk%201.mp4",
        "inside.mp4",
        "./walk",
    ):
        assert read(allowed, place) == CONTENT


def test_a_root_that_is_a_link_is_as_good(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(folder)
    allowed = AllowedInput.told({ROOTS: str(tmp_path / "alias")}, served=True)
    assert read(allowed, "p01/walk 1.mp4") == CONTENT
    assert read(allowed, str(tmp_path / "alias" / "walk")) == CONTENT


def test_what_strangers_send_in_base64_is_never_a_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert Path("walk").is_file() and read(OWN, "walk") == CONTENT
    for allowed in (SERVED, AllowedInput((str(folder),))):
        assert read(allowed, "walk") == base64.b64decode("walk") != CONTENT


def test_a_user_reads_any_file_of_his_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for place in ("inside.mp4", str(folder / "p01" / "walk 1.mp4"), f"file://{folder}/walk"):
        assert read(OWN, place) == CONTENT
    assert read(OWN, "link.mp4") == b"secret"
    for place in ("none.mp4", ".", "a\0b"):
        with pytest.raises(VideoInputError, match="there is no such file"):
            read(OWN, place)


def test_what_the_operator_allows(folder: Path) -> None:
    assert AllowedInput.told({}, served=False) == AllowedInput(None)
    assert AllowedInput.told({}, served=True) == AllowedInput(())
    for served in (True, False):
        assert AllowedInput.told({ROOTS: ""}, served=served).roots == ()
        told = {ROOTS: f" {folder}/ , s3://walks/2026,"}
        assert AllowedInput.told(told, served=served).roots == (str(folder), "s3://walks/2026")
    for wrong in ("videos", str(folder / "none"), str(folder / "walk"), f"{folder},~"):
        with pytest.raises(InputError, match="ASD_VIDEO_ROOTS must name folders by their absolute"):
            AllowedInput.told({ROOTS: wrong}, served=True)


@pytest.mark.parametrize("how", ["base64", "bytes", "path", "url"])
def test_large_videos_are_refused(how: str, tmp_path: Path) -> None:
    large = CONTENT * 1000
    (tmp_path / "large.mp4").write_bytes(large)
    with fsspec.open("memory://walks/large.mp4", "wb") as file:
        file.write(large)
    cells = {
        "base64": base64.b64encode(large).decode(),
        "bytes": large,
        "path": "large.mp4",
        "url": "memory://walks/large.mp4",
    }
    roots = (str(tmp_path), "memory://walks")
    assert read(AllowedInput(roots, len(large)), cells[how]) == large
    with pytest.raises(VideoInputError, match=r"must have 2 MB at most, got 2\.\d MB; cut the"):
        read(AllowedInput(roots, 2_000_000), cells[how])


def test_large_base64_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_work(*_: object, **__: object) -> bytes:
        raise AssertionError("decoded")

    monkeypatch.setattr("binascii.a2b_base64", no_work)
    with pytest.raises(VideoInputError, match="must have 1 MB at most, got"):
        read(AllowedInput((), 1_000_000), "A" * 2_000_000)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a web server with videos, and a redirection away from them."""
    folder = tmp_path_factory.mktemp("web")
    for name in ("walks/p 1.mp4", "other/secret.mp4"):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(CONTENT if "walks" in name else b"secret")

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/walks/moved.mp4":
                self.send_response(302)
                self.send_header("Location", "/other/secret.mp4")
                self.send_header("Content-Length", "5")
                self.end_headers()
                self.wfile.write(b"moved")
            elif self.path == "/walks/slow.mp4":
                stopped.wait(60)
            else:
                super().do_GET()

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    stopped.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_addresses_below_a_root_are_read(web: str) -> None:
    with fsspec.open("memory://walks/p01/walk.mp4", "wb") as file:
        file.write(CONTENT)
    allowed = AllowedInput(("memory://walks/", f"{web}/walks"))
    assert read(allowed, "memory://walks/p01/walk.mp4") == CONTENT
    assert read(allowed, f"{web}/walks/p%201.mp4") == CONTENT
    assert read(OWN, f"{web}/other/secret.mp4") == b"secret"
    with pytest.raises(VideoInputError, match=r"it cannot be fetched \(FileNotFoundError\)"):
        read(allowed, f"{web}/walks/none.mp4")


def test_no_other_address_is_read(web: str) -> None:
    allowed = AllowedInput((f"{web}/walks", "s3://walks/2026"))
    for url in (
        f"{web}/other/secret.mp4",
        f"{web}/walks/../other/secret.mp4",
        f"{web}/walks/%2e%2e/other/secret.mp4",
        f"{web}/walks/%252e%252e/other/secret.mp4",
        f"{web}/walks/..\\other\\secret.mp4",
        f"{web}/walks_not/secret.mp4",
        f"{web}/walks",
        web.replace("127.0.0.1", "127.0.0.1.nip.example") + "/walks/p.mp4",
        web.replace("127.0.0.1", "someone@127.0.0.1") + "/walks/p.mp4",
        web.replace("http", "https") + "/walks/p.mp4",
        f"simplecache::{web}/walks/p.mp4",
        f"zip://p.mp4::{web}/walks/p.mp4",
        "s3://walks/2025/p.mp4",
        "s3://walks/20261/p.mp4",
        "http://[::1/walks/p.mp4",
        "http://169.254.169.254/latest/meta-data",
        "data://x",
    ):
        with pytest.raises(VideoInputError, match="neither base64 of a video file nor a file or"):
            read(allowed, url)


def test_a_redirection_is_not_followed_below_roots(web: str) -> None:
    assert read(OWN, f"{web}/walks/moved.mp4") == b"secret"
    assert read(AllowedInput((f"{web}/walks",)), f"{web}/walks/moved.mp4") == b"moved"


def test_an_address_that_sends_nothing_is_given_up(web: str) -> None:
    began = time.monotonic()
    with (
        pytest.raises(VideoInputError, match=r"it cannot be fetched within 0 s"),
        OWN.video_file(f"{web}/walks/slow.mp4", seconds=0.5),
    ):
        pass
    assert time.monotonic() - began < 30  # the server would keep it for a minute


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("no gcsfs", name="gcsfs")

    monkeypatch.setattr(fsspec, "open", missing)
    with pytest.raises(VideoInputError, match="cannot be read here: gcsfs is missing"):
        read(AllowedInput(("gs://walks",)), "gs://walks/p.mp4")


def test_an_answer_calls_a_video_by_its_place_or_size() -> None:
    assert video_name("p01/walk.mp4") == "p01/walk.mp4"
    assert video_name("s3://walks/p.mp4") == "s3://walks/p.mp4"
    assert video_name(BASE64) == f"video in {len(BASE64)} characters of base64"
    assert video_name("data:video/mp4;base64,AAAA") == "video in 26 characters of base64"
    assert video_name("AAAA\nAAAA") == "video in 9 characters of base64"
    assert video_name(CONTENT) == "video of 2048 bytes"
