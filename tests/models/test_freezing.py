"""Frozen stages: bit-identical after training steps, whatever mode the model is put into."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.backbones.backbone import NUM_STAGES
from asd_experiments.models.freezing import freeze, stage_of_modules
from tests.models.builders import small_clip, small_two_stream

FROZEN = {"none": 0, "stem": 1, "all_but_last_stage": 4, "backbone": 5}


def stage_of(backbone, name):
    """Stage of a tensor, told from its name."""
    if backbone.startswith("slow"):
        return int(name.split("blocks.")[1][0])
    if backbone == "r2plus1d_18":
        return 0 if name.startswith("stem") else int(name[len("layer")])
    return int(name.split("conv")[2][0]) - 1 if "conv" in name else NUM_STAGES - 1


@pytest.mark.parametrize(
    ("backbone", "part"),
    [
        ("r2plus1d_18", "stem"),
        ("r2plus1d_18", "all_but_last_stage"),
        *(pytest.param("slow_50", part, marks=pytest.mark.slow) for part in FROZEN),
        pytest.param("c3d", "all_but_last_stage", marks=pytest.mark.slow),
        pytest.param("slowfast_50", "all_but_last_stage", marks=pytest.mark.slow),
    ],
)
def test_frozen_stages_are_bit_identical_after_training(backbone, part):
    network = small_two_stream(backbone, dropout=0.5)
    frames, size = small_clip(backbone)
    freeze(network, part, clip_length=frames, size=size)
    before = {name: t.clone() for name, t in network.state_dict().items()}
    clips = torch.randn(2, 3, frames, size, size), torch.randn(2, 2, frames, size, size)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
    for _ in range(2):  # pytorchvideo's last batch norms start at zero and stop the first gradient
        network.eval().train()
        optimiser.zero_grad()
        cross_entropy(network(*clips).fused, torch.tensor([0, 1])).backward()
        optimiser.step()
    for name, tensor in network.state_dict().items():
        stage = NUM_STAGES
        if name.startswith("backbones."):
            stage = stage_of(backbone, name.split(".", 2)[2])
        assert torch.equal(tensor, before[name]) == (stage < FROZEN[part]), name
    assert network.backbones["appearance"].dropout.training


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_every_stage_of_every_backbone_is_found(backbone):
    frames, size = small_clip(backbone)
    network = small_two_stream(backbone, "appearance_only").backbones["appearance"]
    stages = stage_of_modules(network, (3, frames, size, size))
    owners = {name.rpartition(".")[0] for name, _ in network.named_parameters()}
    assert {stages[name] for name in owners if name in stages} == set(range(NUM_STAGES))
    assert all(stages[name] == 0 for name in network.stem_convolutions)
