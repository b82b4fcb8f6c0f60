import pytest

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.sampled import sample
from asd_experiments.reporting.effects import main_effects
from tests.evaluation.builders import CLASSES

from .builders import predictions


def effects_of(trials: list[tuple[dict[str, str], float]], varied: tuple[str, ...]):
    tables = [predictions(effect, seed=seed) for seed, (_, effect) in enumerate(trials)]
    cases = [Predictions(table, CLASSES, "ASD").cases("test", "patient") for table in tables]
    sampled = sample(cases, ["auroc"])["auroc"]
    parameters = [{"fusion": "gated", **own} for own, _ in trials]
    return sampled, {effect.name: effect for effect in main_effects(parameters, varied, sampled)}


def test_a_level_is_not_judged_by_what_it_happened_to_be_tried_with():
    """Here `wide` was tried with the good backbone once more than `narrow` was."""
    trials = [
        ({"width": "1", "backbone": "bad"}, 0.2),
        ({"width": "2", "backbone": "bad"}, 0.2),
        ({"width": "1", "backbone": "good"}, 1.5),
        ({"width": "2", "backbone": "good"}, 1.5),
        ({"width": "2", "backbone": "best"}, 2.5),
    ]
    sampled, effects = effects_of(trials, ("width", "backbone"))
    narrow, wide = effects["width"].levels
    assert (effects["width"].num_matched, narrow.num_trials, wide.num_trials) == (2, 2, 2)
    assert wide.mean.value == pytest.approx(sampled.observed[[1, 3]].mean())
    assert wide.difference.value == pytest.approx(
        sampled.observed[[1, 3]].mean() - sampled.observed[[0, 2]].mean()
    )


def test_levels_without_a_shared_setting_say_so():
    trials = [
        ({"width": "1", "backbone": "a"}, 0.5),
        ({"width": "1", "backbone": "b"}, 0.5),
        ({"width": "2", "backbone": "c"}, 0.9),
        ({"width": "2", "backbone": "d"}, 0.9),
    ]
    _, effects = effects_of(trials, ("width", "backbone"))
    assert effects["width"].num_matched == 0
    assert [level.num_trials for level in effects["width"].levels] == [2, 2]


def test_numbers_are_in_their_order_and_a_parameter_of_single_trials_has_no_effect():
    trials = [
        ({"clip_length": length, "learning_rate": str(rate)}, 0.5)
        for rate, length in enumerate(("16", "8", "16", "8"))
    ]
    _, effects = effects_of(trials, ("clip_length", "learning_rate"))
    assert set(effects) == {"clip_length"}
    assert [level.value for level in effects["clip_length"].levels] == ["8", "16"]


def test_optical_flow_is_what_fusions_divide_into():
    trials = [
        ({"fusion": fusion, "backbone": backbone}, effect)
        for fusion, effect in (("appearance_only", 0.3), ("gated", 1.5), ("late_average", 1.5))
        for backbone in ("a", "b")
    ]
    sampled, effects = effects_of(trials, ("fusion", "backbone"))
    without, using = effects["optical_flow"].levels
    assert (without.value, using.value) == ("false", "true")
    assert using.difference.value == pytest.approx(
        sampled.observed[2:].mean() - sampled.observed[:2].mean()
    )
    assert using.difference.interval.low > 0


def test_every_setting_counts_the_same_however_often_it_was_tried():
    """A sampler tried the good backbone with `wide` three times."""
    trials = [
        ({"width": "1", "backbone": "bad"}, 0.2),
        ({"width": "2", "backbone": "bad"}, 0.2),
        ({"width": "1", "backbone": "good"}, 1.5),
        *[({"width": "2", "backbone": "good"}, 1.5)] * 3,
    ]
    sampled, effects = effects_of(trials, ("width", "backbone"))
    wide = effects["width"].levels[1]
    expected = (sampled.observed[1] + sampled.observed[3:].mean()) / 2
    assert (wide.num_trials, wide.mean.value) == (4, pytest.approx(expected))


def test_flow_alone_is_no_flow_added():
    trials = [
        ({"fusion": fusion, "backbone": backbone}, effect)
        for fusion, effect in (("appearance_only", 1.0), ("gated", 1.0), ("motion_only", -1.0))
        for backbone in ("a", "b")
    ]
    sampled, effects = effects_of(trials, ("fusion", "backbone"))
    _, using = effects["optical_flow"].levels
    assert using.mean.value == pytest.approx(sampled.observed[2:4].mean())
