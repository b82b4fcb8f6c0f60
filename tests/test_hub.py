import http.client
import socket
import urllib.error
from pathlib import Path

import pytest
import torch

from asd_experiments.errors import InputError
from asd_experiments.hub import fetch

URL = "https://hub.org/models/network_C_T_V2-01064c6d.pth?download=1"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path / "checkpoints"


def test_a_file_is_downloaded_once_and_held_against_its_name(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefixes = []

    def download(_: str, path: str, hash_prefix: str, progress: bool) -> None:
        prefixes.append(hash_prefix)
        Path(path).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        assert fetch(URL, "the weights", "pretrained") == cache / "network_C_T_V2-01064c6d.pth"
    assert prefixes == ["01064c6d"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            urllib.error.URLError(socket.gaierror("Name or service not known")),
            r"<urlopen error Name or service not known>",
        ),
        (http.client.RemoteDisconnected("closed"), "closed"),
        (http.client.IncompleteRead(b""), r"IncompleteRead\(0 bytes read\)"),
        (RuntimeError("invalid hash value\n(expected 01064c6d)"), "invalid hash value"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_one_line_says_why_a_file_cannot_be_had_and_what_to_do(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(
        InputError,
        match=rf"^the weights cannot be downloaded \({reason}\); download https://hub\.org/models/"
        r"network_C_T_V2-01064c6d\.pth\?download=1 on a machine with a network and pass "
        r"flow_weights=FILE$",
    ):
        fetch(URL, "the weights", "flow_weights")
