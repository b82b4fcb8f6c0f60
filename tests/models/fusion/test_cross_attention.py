import math

import torch
from torch import nn

from asd_experiments.models.fusion import MapShape, NetworkShape
from asd_experiments.models.fusion.cross_attention import WIDTH, CrossAttention, Look
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes


def test_one_token_looks_at_two_by_hand():
    look = Look(1, 1)
    look.norm, look.other_norm, look.hidden[0] = nn.Identity(), nn.Identity(), nn.Identity()
    idle = WIDTH - 1
    set_weights(look.query, [[1.0]] + [[0.0]] * idle)
    # Heads are 16 wide, so scores are divided by 4: 1 * 4 log(3) / 4 = log(3) for the first token.
    set_weights(look.key, [[4 * math.log(3)]] + [[0.0]] * idle)
    set_weights(look.value, [[8.0]] + [[0.0]] * idle)
    set_weights(look.output, [[1.0] + [0.0] * idle])
    maps = torch.tensor([1.0]).reshape(1, 1, 1, 1, 1)
    other = torch.tensor([1.0, 0.0]).reshape(1, 1, 2, 1, 1)
    # Attention 3/4 and 1/4 on values 8 and 0: 6, added to 1; the hidden layer still adds nothing
    torch.testing.assert_close(look(maps, other).flatten(), torch.tensor([7.0]))


def test_the_hidden_layer_is_added_by_hand():
    look = Look(1, 1)
    look.hidden[0], look.hidden[2] = nn.Identity(), nn.ReLU()
    set_weights(look.hidden[1], [[3.0]] + [[-1.0]] * (WIDTH - 1))
    set_weights(look.hidden[3], [[10.0] + [100.0] * (WIDTH - 1)], [0.5])
    maps = torch.tensor([2.0]).reshape(1, 1, 1, 1, 1)
    # Units 6, and -2 which the ReLU makes 0: 2 + 60 + .5
    torch.testing.assert_close(look(maps, maps).flatten(), torch.tensor([62.5]))


def test_it_is_pytorch_s_multi_head_attention():
    torch.manual_seed(0)
    look = Look(6, 5)
    nn.init.normal_(look.output.weight)
    reference = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
    set_weights(reference.out_proj, torch.eye(WIDTH).tolist())
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.eye(WIDTH).repeat(3, 1))
    maps, other = torch.randn(2, 6, 2, 3, 1), torch.randn(2, 5, 1, 2, 2)
    tokens = maps.flatten(2).transpose(1, 2)
    others = look.other_norm(other.flatten(2).transpose(1, 2))
    found, _ = reference(look.query(look.norm(tokens)), look.key(others), look.value(others))
    expected = (tokens + look.output(found)).transpose(1, 2).reshape(maps.shape)
    torch.testing.assert_close(look(maps, other), expected)


def test_places_of_the_other_stream_have_no_order():
    torch.manual_seed(0)
    look = Look(3, 3)
    nn.init.normal_(look.output.weight)
    maps, other = torch.randn(1, 3, 1, 2, 2), torch.randn(1, 3, 4, 1, 1)
    torch.testing.assert_close(look(maps, other), look(maps, other.flip(2)))


def test_networks_may_differ_in_every_size():
    networks = {
        "appearance": NetworkShape("slow", 1, (MapShape(3, 8, 4, 4),) * 5, per_frame=False),
        "motion": NetworkShape("fast", 1, (MapShape(5, 2, 7, 7),) * 5, per_frame=True),
    }
    fusion = CrossAttention(networks=networks, num_classes=2)
    maps = {"appearance": torch.randn(2, 3, 8, 4, 4), "motion": torch.randn(2, 5, 2, 7, 7)}
    mixed = fusion.mix(4, maps)
    assert {key: value.shape for key, value in mixed.items()} == {
        key: value.shape for key, value in maps.items()
    }


def test_head_by_hand():
    fusion = CrossAttention(networks=shapes(appearance=1, motion=1), num_classes=2)
    set_weights(fusion.classifier, [[1.0, 2.0], [3.0, 4.0]], [0.0, 0.5])
    scores = fusion({"appearance": torch.tensor([[10.0]]), "motion": torch.tensor([[100.0]])})
    torch.testing.assert_close(scores.fused, torch.tensor([[210.0, 430.5]]))
