"""A served model without a training: small networks with fresh weights answer as well as others."""

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
import torch
from mlflow.tracking import MlflowClient

from asd_experiments.config import PreprocessConfig
from asd_experiments.models.two_stream import build_two_stream
from asd_experiments.normalisation import Normalisation
from asd_experiments.tracking.model_card import ModelCard
from asd_experiments.tracking.model_writer import TrialModelWriter

NAME, ALIAS = "asd-two-stream", "candidate"
ADDRESS = f"models:/{NAME}@{ALIAS}"
_NETWORK = {
    **{"backbone": "r3d_18", "motion_backbone": None, "fusion": "late_average"},
    **{"clip_length": 8, "size": 32, "width": 0.125, "dropout": 0.0},
}


def register_untrained(folder: Path) -> None:
    """Log and register a model of two folds to the tracking store in use.

    Args:
        folder: An empty folder for its files.
    """
    writer = TrialModelWriter(folder)
    for fold in range(2):
        torch.manual_seed(fold)
        writer.add(fold, build_two_stream(**_NETWORK, num_classes=2))
    with mlflow.start_run() as run:
        card = ModelCard(
            network=_NETWORK,
            classes=["ASD", "non_ASD"],
            positive_class="ASD",
            thresholds={"0": 0.5, "1": 0.5},
            clip_stride=8,
            segmentation=True,
            normalisation=vars(Normalisation((0.5,) * 3, (0.25,) * 3)),
            recipe=PreprocessConfig(videos="none", labels="none", size=48).recipe,
            folds=2,
            temperatures={"0": 1.0, "1": 1.0},
            frame_rate_hz=25.0,
            run_id=run.info.run_id,
        )
        uri = writer.log(card, {})
    version = mlflow.register_model(uri, NAME)
    MlflowClient().set_registered_model_alias(NAME, ALIAS, version.version)


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
