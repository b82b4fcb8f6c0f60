import math

import pytest
import torch

from asd_experiments.models.fusion.late_weighted import LateWeighted
from tests.models.fusion.set_weights import set_weights
from tests.models.fusion.shapes import shapes


@pytest.fixture
def fusion():
    made = LateWeighted(networks=shapes(appearance=1, motion=1), num_classes=2)
    set_weights(made.appearance, [[1.0], [0.0]])
    set_weights(made.motion, [[0.0], [2.0]])
    return made


FEATURES = {"appearance": torch.tensor([[math.log(3)]]), "motion": torch.tensor([[math.log(3)]])}


def test_three_quarters_of_one_stream_and_a_quarter_of_the_other(fusion):
    with torch.no_grad():
        fusion.balance.fill_(math.log(3))
    assert fusion.figures() == {"appearance_weight": pytest.approx(0.75)}
    # .75/.25 and .1/.9: .75 * .75 + .25 * .1 = .5875
    torch.testing.assert_close(fusion(FEATURES).fused.exp(), torch.tensor([[0.5875, 0.4125]]))


def test_starts_as_the_average_and_learns_which_stream_is_right(fusion):
    assert fusion.figures() == {"appearance_weight": 0.5}
    torch.testing.assert_close(fusion(FEATURES).fused.exp(), torch.tensor([[0.425, 0.575]]))
    optimiser = torch.optim.SGD([fusion.balance], lr=1.0)
    for _ in range(50):
        optimiser.zero_grad()
        (-fusion(FEATURES).fused[0, 0]).backward()
        optimiser.step()
    assert fusion.figures()["appearance_weight"] > 0.9


def test_extreme_weights_and_scores_stay_finite(fusion):
    with torch.no_grad():
        fusion.balance.fill_(200.0)
    scores = fusion({"appearance": torch.tensor([[1e4]]), "motion": torch.tensor([[1e4]])})
    assert scores.fused.isfinite().all()
