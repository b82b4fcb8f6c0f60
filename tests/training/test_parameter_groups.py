import pytest

from asd_experiments.models.freezing import freeze
from asd_experiments.training.parameter_groups import parameter_groups
from tests.models.builders import small_two_stream


def groups_of(part):
    network = small_two_stream()
    freeze(network, part, clip_length=8, size=32)
    return network, parameter_groups(network, learning_rate=0.01, backbone_lr_factor=0.1)


@pytest.mark.parametrize("part", ["none", "stem", "all_but_last_stage", "backbone"])
def test_each_parameter_is_in_one_group_and_a_frozen_one_in_none(part):
    network, groups = groups_of(part)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in network.parameters() if p.requires_grad}


def test_backbones_learn_at_their_share_of_the_rate():
    network, (fusion, backbones) = groups_of("none")
    assert fusion["lr"] == 0.01 and backbones["lr"] == pytest.approx(0.001)
    assert {id(p) for p in fusion["params"]} == {id(p) for p in network.fusion.parameters()}


def test_a_frozen_backbone_has_no_group():
    _, groups = groups_of("backbone")
    assert [group["lr"] for group in groups] == [0.01]
