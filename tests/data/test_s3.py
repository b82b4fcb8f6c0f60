"""A store on an S3 server: moto's, in a process of its own on this machine."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import boto3
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from asd_experiments.data.storage import StoreError
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_writer import StoreWriter
from tests.data.builders import (
    BACKENDS,
    RECIPE,
    WEIGHTS,
    key_of,
    labels_of,
    run_like_a_command,
    write,
)

pytestmark = pytest.mark.slow

CREDENTIALS = {
    **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing"),
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
}
OPEN = """
import sys
from asd_experiments.data.store import ClipStore, StoreError
from asd_experiments.data.store_writer import StoreWriter
for open_it in (ClipStore, lambda url: StoreWriter(url, {"size": 32}, {})):
    try:
        open_it(sys.argv[1])
    except StoreError as error:
        print(error)
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the S3 server does not start")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """URL of a bucket; the server is named by the usual environment variables."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }.items():
            patched.setenv(name, value)
        try:
            wait_for(port)
            boto3.client("s3").create_bucket(Bucket="gait")
            yield "s3://gait"
        finally:
            server.kill()
            server.wait()


def test_a_store_on_s3_is_the_store_on_disk(bucket, tmp_path):
    digest = run_like_a_command(str(tmp_path / "s.zarr"), (1, 2))
    url = f"{bucket}/cohort/s.zarr"
    write(StoreWriter(url, RECIPE, BACKENDS, WEIGHTS), 1)
    with pytest.raises(StoreError, match="is not finished; run preprocess again"):
        ClipStore(url)
    assert run_like_a_command(url, (1, 2)) == digest
    there, here = ClipStore(url), ClipStore(str(tmp_path / "s.zarr"))
    assert there.digest == digest and there.weights() == WEIGHTS
    for key in (key_of(1), key_of(2)):
        pair = there.read(key, 3, 18), here.read(key, 3, 18)
        assert all(np.array_equal(one, other) for one, other in zip(*pair, strict=True))
    with pytest.raises(StoreError, match="size is 32 there, 64 now"):
        StoreWriter(url, {**RECIPE, "size": 64}, BACKENDS, WEIGHTS)
    objects = boto3.client("s3").list_objects_v2(Bucket="gait")["Contents"]
    assert sorted(o["Key"].removeprefix("cohort/s.zarr/") for o in objects) == sorted(
        str(path.relative_to(tmp_path / "s.zarr"))
        for path in (tmp_path / "s.zarr").rglob("*")
        if path.is_file()
    )


def test_two_writers_on_s3_see_each_other(bucket):
    url = f"{bucket}/two.zarr"
    first, second = (StoreWriter(url, RECIPE, BACKENDS) for _ in range(2))
    assert second.facts(key_of(1)) is None
    write(first, 1)
    assert second.facts(key_of(1)) is not None
    write(second, 2)
    assert second.finish(labels_of(1, 2), []) == first.finish(labels_of(1, 2), [])


class Frames(Dataset):
    def __init__(self, store: ClipStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        return int(self.store.read(key_of(1), index, index + 4).rgb.sum())


@pytest.mark.parametrize(("start", "num_workers"), [("fork", 2), ("spawn", 1)])
def test_worker_processes_read_from_s3(bucket, start, num_workers):
    url = f"{bucket}/workers-{start}.zarr"
    run_like_a_command(url, (1,))
    data = Frames(ClipStore(url))
    alone = [data[index] for index in range(len(data))]
    loader = DataLoader(data, num_workers=num_workers, multiprocessing_context=start)
    for _ in range(num_workers):
        assert [int(batch) for batch in loader] == alone
    assert data[0] == alone[0], "the connection of the parent process still works"


def lines_of_opening(url: str, **environment: str) -> list[str]:
    """What a fresh process says that opens a store to read it, and another one to write it."""
    python = [sys.executable, "-W", "error", "-c", OPEN, url]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    result = subprocess.run(
        python, env={**kept, **environment}, capture_output=True, text=True, check=True, timeout=120
    )
    return result.stdout.splitlines()


def test_a_wrong_bucket_is_told(bucket):
    with pytest.raises(StoreError, match=r"there is no clip store at 's3://other/s\.zarr'; run"):
        ClipStore("s3://other/s.zarr")
    with pytest.raises(StoreError, match="cannot be written: The specified bucket does not exist"):
        StoreWriter("s3://other/s.zarr", RECIPE, BACKENDS)


def test_a_server_that_is_gone_is_told():
    reading, writing = lines_of_opening(
        "s3://gait/s.zarr", **CREDENTIALS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}"
    )
    for line in (reading, writing):
        assert line.startswith("'s3://gait/s.zarr' cannot be read: Could not connect to the end")


def test_missing_credentials_are_told():
    without = {name: value for name, value in CREDENTIALS.items() if "KEY" not in name}
    lines = lines_of_opening("s3://gait/s.zarr", **without, HOME="/nonexistent")
    assert lines == ["'s3://gait/s.zarr' cannot be read: Unable to locate credentials"] * 2


class Forbidding(BaseHTTPRequestHandler):
    """An S3 server that allows nothing."""

    protocol_version = "HTTP/1.1"

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = _refuse  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_missing_permission_is_told():
    with ThreadingHTTPServer(("127.0.0.1", 0), Forbidding) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        lines = lines_of_opening("s3://gait/s.zarr", **CREDENTIALS, AWS_ENDPOINT_URL=endpoint)
        server.shutdown()
    assert lines == ["'s3://gait/s.zarr' cannot be read: Forbidden"] * 2
