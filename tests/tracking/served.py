"""MLflow's scoring server with a model of ours, and requests to it."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import mlflow

from asd_experiments.config import REGISTERED_MODEL

ADDRESS = f"models:/{REGISTERED_MODEL}@candidate"


class Answer(NamedTuple):
    """What a server answers."""

    status: int
    text: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Predictions; strict JSON has no NaN."""
        content = json.loads(self.text, parse_constant=lambda word: 1 / 0)
        predictions: list[dict[str, Any]] = content["predictions"]
        return predictions


class Server(NamedTuple):
    """A scoring server in a process of its own."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def post(self, body: bytes, kind: str | None = "application/json") -> Answer:
        """Send a request."""
        request = urllib.request.Request(f"{self.address}/invocations", data=body, method="POST")
        if kind is None:
            request.add_header("Content-Type", "")
        else:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=300) as response:
                return Answer(response.status, response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode())

    def classify(self, *videos: str, **params: object) -> Answer:
        """Ask for videos, one in a row."""
        rows = [{"video": video} for video in videos]
        return self.post(json.dumps({"dataframe_records": rows, "params": params}).encode())


@contextmanager
def serve(log: Path, environment: Mapping[str, str], *options: str) -> Iterator[Server]:
    """Serve the registered model as a user does: `mlflow models serve`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = ["mlflow", "models", "serve", "-m", ADDRESS, "--env-manager", "local", "-p", port]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, *options],
            env={**os.environ, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        server = Server(f"http://127.0.0.1:{port}", process, log)
        try:
            _wait(server)
            yield server
        finally:
            process.terminate()
            process.wait(30)


def _wait(server: Server) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.address}/ping", timeout=10):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server does not answer: {server.log.read_text()}")
