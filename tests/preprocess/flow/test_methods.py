from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from torchvision.models import optical_flow

from asd_experiments.config import FlowName
from asd_experiments.errors import InputError
from preprocess.flow import FLOWS, flow_method
from preprocess.flow.flow import Flow
from preprocess.method import MethodError, WeightsSource


@pytest.fixture(scope="session")
def weights_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[FlowName], Path | None]:
    """Files of weights of the right shapes that know nothing; None for a method without."""

    @cache
    def make(name: FlowName) -> Path | None:
        if name == "dis":
            return None
        torch.manual_seed(0)
        path = tmp_path_factory.mktemp("weights") / f"{name}.pth"
        torch.save(getattr(optical_flow, name)(weights=None).state_dict(), path)
        return path

    return make


@pytest.fixture
def raft_file(weights_of: Callable[[FlowName], Path]) -> Path:
    return weights_of("raft_small")


def build(name: FlowName, weights: Path | None) -> Flow:
    method = flow_method(name)
    return method.build(method.load_weights(WeightsSource(weights)))


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


@pytest.mark.parametrize("name", FLOWS)
def test_flow_has_the_pictures_grid(
    name: FlowName, weights_of: Callable[[FlowName], Path | None]
) -> None:
    """The same pictures give the same flow, whichever instance computes it."""
    earlier, later = (np.repeat(p, 2, axis=0) for p in shifted_pair(32, 2, 1))
    flow, again = (build(name, weights_of(name))(earlier, later) for _ in range(2))
    assert flow.shape == (2, 32, 32, 2)
    assert flow.dtype == np.float32
    assert np.isfinite(flow).all()
    np.testing.assert_array_equal(flow, again)


@pytest.mark.slow
@pytest.mark.parametrize("size", [96, 150])
@pytest.mark.parametrize("name", FLOWS.keys() - {"raft_large"})
def test_larger_pictures_keep_their_grid(
    name: FlowName, size: int, weights_of: Callable[[FlowName], Path | None]
) -> None:
    flow = build(name, weights_of(name))(*shifted_pair(size, 1, 0))
    assert flow.shape == (1, size, size, 2) and np.isfinite(flow).all()


@pytest.mark.slow
def test_batches_do_not_change_the_flow(weights_of: Callable[[FlowName], Path | None]) -> None:
    """Six pairs are more than one batch on a CPU."""
    pairs = [shifted_pair(32, x, 0) for x in range(6)]
    flow = build("raft_small", weights_of("raft_small"))
    together = flow(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    np.testing.assert_allclose(together, np.concatenate([flow(*p) for p in pairs]), atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["raft_small", "raft_large"])
def test_gpu_in_half_precision_gives_the_flow_of_the_cpu(
    name: FlowName, weights_of: Callable[[FlowName], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    pair = shifted_pair(128, 2, 1)
    on_gpu = build(name, weights_of(name))(*pair)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = build(name, weights_of(name))(*pair)
    error, length = (np.linalg.norm(f, axis=-1).mean() for f in (on_gpu - on_cpu, on_cpu))
    assert error < 0.05 * length


@pytest.mark.parametrize("move", [(3.0, 0.0), (0.0, -2.5), (-1.5, 2.0)])
def test_dis_measures_a_shift(move: tuple[float, float]) -> None:
    flow = build("dis", None)(*shifted_pair(128, *move))
    error = np.linalg.norm(flow[0, 16:-16, 16:-16] - move, axis=-1)
    assert error.mean() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 160])
def test_raft_measures_a_shift(size: int, shared_data: Path) -> None:
    flow = build("raft_small", shared_data / "weights" / "raft_small.pth")
    move = np.array([2.0, -1.5])
    error = np.linalg.norm(flow(*shifted_pair(size, *move))[0, 8:-8, 8:-8] - move, axis=-1)
    assert error.mean() < 0.3


def test_weights_travel_as_safetensors(raft_file: Path, tmp_path: Path) -> None:
    content = flow_method("raft_small").load_weights(WeightsSource(raft_file))
    assert content == flow_method("raft_small").load_weights(WeightsSource(raft_file))
    assert set(safetensors.torch.load(content)) == set(optical_flow.raft_small().state_dict())
    copy = tmp_path / "raft.safetensors"
    copy.write_bytes(content)
    assert flow_method("raft_small").load_weights(WeightsSource(copy)) == content


@pytest.mark.parametrize("name", ["raft_small", "raft_large"])
def test_weights_of_something_else_are_refused(
    name: FlowName, weights_of: Callable[[FlowName], Path], tmp_path: Path
) -> None:
    other = weights_of("raft_small" if name == "raft_large" else "raft_large")
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for file in (other, tmp_path / "other.pth", tmp_path / "list.pth"):
        with pytest.raises(
            MethodError, match=rf"does not hold the weights of {name}; take .* https://\S+{name}_"
        ):
            flow_method(name).load_weights(WeightsSource(file))


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    def load(file: Path) -> bytes | None:
        return flow_method("raft_small").load_weights(WeightsSource(file))

    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("these are no weights")
        with pytest.raises(InputError, match=f"^flow_weights: '{tmp_path}/{name}' is not a file"):
            load(tmp_path / name)
    with pytest.raises(InputError, match=f"^flow_weights: there is no file '{tmp_path}/none.pth'"):
        load(tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["raft_small", "raft_large"])
def test_no_network_names_the_remedy(name: FlowName, no_network: None) -> None:
    with pytest.raises(InputError, match=rf"download https://\S+{name}_\S+ on .* flow_weights=F"):
        flow_method(name).load_weights(WeightsSource())


def test_weights_and_method_must_fit(raft_file: Path) -> None:
    with pytest.raises(MethodError, match="flow=dis has no weights; leave flow_weights out"):
        flow_method("dis").load_weights(WeightsSource(raft_file))
    with pytest.raises(MethodError, match="flow=dis has no weights, but"):
        flow_method("dis").build(b"weights")
    for name in ("raft_small", "raft_large"):
        with pytest.raises(MethodError, match=f"flow={name} needs its weights"):
            flow_method(name).build(None)
        with pytest.raises(MethodError, match=f"flow={name} has no config; leave flow_config out"):
            flow_method(name).load_weights(WeightsSource(raft_file, "a.yaml"))
