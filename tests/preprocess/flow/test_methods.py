import socket
import urllib.error
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from torchvision.models.optical_flow import raft_small

from asd_experiments.config import FlowName
from preprocess.flow import FLOWS, flow_method
from preprocess.flow.flow import Flow
from preprocess.flow.raft import rescale_flow
from preprocess.method import MethodError, WeightsSource


@pytest.fixture(scope="session")
def raft_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the right shapes that know nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "raft_small.pth"
    torch.save(raft_small(weights=None).state_dict(), path)
    return path


def build(name: FlowName, weights: Path) -> Flow:
    method = flow_method(name)
    return method.build(
        method.load_weights(WeightsSource(weights if name == "raft_small" else None))
    )


def shifted_pair(size: int, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """A texture and the same texture moved by (x, y) pixels, as batches of one."""
    noise = np.random.default_rng(0).normal(size=(size + 64, size + 64, 3))
    texture = cv2.GaussianBlur(noise, (0, 0), 3)
    texture = ((texture / texture.std() * 45) + 128).clip(0, 255).astype(np.float32)
    move = np.array([[1, 0, x], [0, 1, y]], float)
    moved = cv2.warpAffine(texture, move, texture.shape[:2], flags=cv2.INTER_CUBIC)
    pair = [p[32:-32, 32:-32].clip(0, 255).astype(np.uint8)[None] for p in (texture, moved)]
    return pair[0], pair[1]


def test_every_configured_method_is_in_the_table() -> None:
    assert set(FLOWS) == set(get_args(FlowName))


@pytest.mark.parametrize(
    "size",
    [32, pytest.param(96, marks=pytest.mark.slow), pytest.param(150, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("name", FLOWS)
def test_flow_has_the_pictures_grid(name: FlowName, size: int, raft_file: Path) -> None:
    earlier, later = shifted_pair(size, 1, 0)
    flow = build(name, raft_file)(np.repeat(earlier, 2, axis=0), np.repeat(later, 2, axis=0))
    assert flow.shape == (2, size, size, 2)
    assert flow.dtype == np.float32
    assert np.isfinite(flow).all()


@pytest.mark.parametrize("name", FLOWS)
def test_same_pictures_give_the_same_flow(name: FlowName, raft_file: Path) -> None:
    pair = shifted_pair(64, 2, 1)
    one, other = (build(name, raft_file)(*pair) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("move", [(3.0, 0.0), (0.0, -2.5), (-1.5, 2.0)])
def test_dis_measures_a_shift(move: tuple[float, float], raft_file: Path) -> None:
    flow = build("dis", raft_file)(*shifted_pair(128, *move))
    error = np.linalg.norm(flow[0, 16:-16, 16:-16] - move, axis=-1)
    assert error.mean() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 160])
def test_raft_measures_a_shift(size: int, shared_data: Path) -> None:
    flow = build("raft_small", shared_data / "weights" / "raft_small.pth")
    move = np.array([2.0, -1.5])
    error = np.linalg.norm(flow(*shifted_pair(size, *move))[0, 8:-8, 8:-8] - move, axis=-1)
    assert error.mean() < 0.3


def test_resizing_a_flow_scales_it() -> None:
    flow = torch.stack([torch.full((128, 128), 6.0), torch.full((128, 128), -2.0)])[None]
    half = rescale_flow(flow, 64)
    assert half.shape == (1, 2, 64, 64)
    np.testing.assert_allclose(half[0, :, 5, 5], [3.0, -1.0], rtol=1e-6)


def test_weights_travel_as_safetensors(raft_file: Path, tmp_path: Path) -> None:
    content = flow_method("raft_small").load_weights(WeightsSource(raft_file))
    assert content == flow_method("raft_small").load_weights(WeightsSource(raft_file))
    assert set(safetensors.torch.load(content)) == set(raft_small().state_dict())
    copy = tmp_path / "raft.safetensors"
    copy.write_bytes(content)
    assert flow_method("raft_small").load_weights(WeightsSource(copy)) == content


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    def load(file: Path) -> bytes | None:
        return flow_method("raft_small").load_weights(WeightsSource(file))

    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(MethodError, match="does not hold the weights of raft_small; take"):
        load(tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(MethodError, match="does not hold the weights of raft_small; take"):
        load(tmp_path / "list.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("these are no weights")
        with pytest.raises(MethodError, match=f"{name}' is not a file of weights"):
            load(tmp_path / name)
    with pytest.raises(MethodError, match=r"there is no file 'none\.pth'"):
        load(tmp_path / "none.pth")


def test_no_network_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError(socket.gaierror("Name or service not known"))

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    with pytest.raises(MethodError, match=r"fetch https://\S+ elsewhere .* flow_weights=FILE"):
        flow_method("raft_small").load_weights(WeightsSource())


def test_weights_and_method_must_fit(raft_file: Path) -> None:
    with pytest.raises(MethodError, match="flow=dis has no weights; leave flow_weights out"):
        flow_method("dis").load_weights(WeightsSource(raft_file))
    with pytest.raises(MethodError, match="flow=dis has no weights, but"):
        flow_method("dis").build(b"weights")
    with pytest.raises(MethodError, match="flow=raft_small needs its weights"):
        flow_method("raft_small").build(None)
