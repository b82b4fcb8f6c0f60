"""A trial from a file of weights: what the tracking server and the logged model hold of them."""

import hashlib
import json
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from mlflow.tracking import MlflowClient
from safetensors.torch import load_file

from asd_experiments.errors import InputError
from asd_experiments.models import pretrained
from asd_experiments.models.backbones import build_backbone
from asd_experiments.tracking.trial import train
from asd_experiments.user_file import read_file
from tests.tracking.conftest import small_training


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """As torchvision's file: `fc` included."""
    torch.manual_seed(5)
    network = build_backbone(
        "r2plus1d_18", in_channels=3, clip_length=8, size=32, width=1.0, dropout=0.0
    )
    file = tmp_path_factory.mktemp("weights") / "r2plus1d.pth"
    torch.save({**network.state_dict(), "fc.weight": torch.zeros(400, 512)}, file)
    return file


def pretrained_training(store, weights, **changes):
    settings = {"backbone": "r2plus1d_18", "width": 1.0, "freeze": "backbone", **changes}
    return small_training(store, pretrained=str(weights), **settings)


@pytest.fixture(scope="module")
def trial(project_folder, small_store, weights):
    config = pretrained_training(small_store.url, weights, fusion="appearance_only")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "read_file", Mock(side_effect=read_file))
        run_id = train(config)
        assert pretrained.read_file.call_count == 1  # such a file may be large, and far away
    return MlflowClient().get_run(run_id)


@pytest.mark.slow
def test_the_run_tells_what_was_loaded_from_what(trial, weights):
    params = trial.data.params
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert params["pretrained/appearance/sha256"] == digest
    assert params["pretrained/appearance/file"] == "r2plus1d.pth"
    state = torch.load(weights, weights_only=True)
    counts = {
        name: int(params[f"pretrained/appearance/num_{name}"])
        for name in ("loaded", "reshaped", "skipped", "fresh")
    }
    assert counts == {"loaded": len(state) - 1, "reshaped": 0, "skipped": 1, "fresh": 0}
    assert params["freeze"] == "backbone" and params["backbone_lr_factor"] == "1.0"
    assert params["normalisation_mean"] == "0.43216, 0.394666, 0.37645"


@pytest.mark.slow
def test_the_model_carries_the_normalisation_and_the_frozen_weights(trial, weights):
    (output,) = trial.outputs.model_outputs
    from mlflow.artifacts import download_artifacts

    folder = Path(download_artifacts(f"models:/{output.model_id}"))
    (spec_file,) = folder.rglob("two_stream.json")
    assert json.loads(spec_file.read_text())["normalisation"] == {
        "mean": [0.43216, 0.394666, 0.37645],
        "std": [0.22803, 0.22145, 0.216989],
    }
    fold = load_file(spec_file.parent / "fold_0.safetensors")
    state = torch.load(weights, weights_only=True)
    for name, tensor in state.items():
        if not name.startswith("fc."):
            assert torch.equal(fold[f"backbones.appearance.{name}"], tensor), name


def test_weights_that_cannot_be_had_are_refused_before_anything_starts(
    project_folder, small_store, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = pretrained_training("", tmp_path / "none.pth")  # no store: it would be simulated
    with pytest.raises(InputError, match=r"this trial cannot be trained:\n.*none.pth: there is no"):
        train(config)
    with pytest.raises(InputError, match=r"motion_pretrained=none.pth: there is no such file"):
        train(small_training("", width=1.0, motion_pretrained="none.pth"))
    assert not (tmp_path / "outputs").exists()
    with pytest.raises(InputError, match="no hub has such weights of c3d"):
        train(
            pretrained_training(
                "", "kinetics400", backbone="c3d", clip_length=16, size=112, freeze="none"
            )
        )
