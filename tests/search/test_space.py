"""Search spaces as engines use them: asked by trials, listed, enqueued, sent to other processes."""

import pickle
from dataclasses import replace
from itertools import product

import optuna
import pytest
from optuna.trial import FixedTrial, TrialState

from asd_experiments.config import TrainConfig
from asd_experiments.search.settings import Budget
from asd_experiments.search.space import ExcludedError
from tests.search.files import OBJECTIVE, SMALL, space_of

CONDITIONAL = (
    OBJECTIVE
    + SMALL
    + """\
sampler: {name: %s, seed: 1}
budget: 30
parameters:
  fusion: [appearance_only, late_average, gated]
  motion_backbone: {choices: [null, c3d_gap], when: {fusion: [late_average, gated]}}
  pretrained: {choices: [null], when: {motion_backbone: c3d_gap}}
  clip_length: {low: 8, high: 24, step: 8}
  balance: [weights, sampler]
exclude:
  - {fusion: gated, clip_length: [16, 24]}
  - {balance: sampler, motion_backbone: c3d_gap}
"""
)
FLAT = (
    OBJECTIVE
    + SMALL
    + """\
sampler: random
budget: 30
parameters:
  fusion: [late_average, gated]
  clip_length: {low: 8, high: 24, step: 8}
  batch_size: {low: 2, high: 64, log: true}
  learning_rate: {low: 1e-5, high: 1e-2, log: true}
  dropout: {low: 0.1, high: 0.7, step: 0.2}
  ema: [null, 0.9]
"""
)
SAMPLERS = {
    "tpe": lambda: optuna.samplers.TPESampler(seed=0, n_startup_trials=4),
    "random": lambda: optuna.samplers.RandomSampler(seed=0),
    "qmc": lambda: optuna.samplers.QMCSampler(seed=0, warn_independent_sampling=False),
    "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=0, population_size=4),
    "gp": lambda: optuna.samplers.GPSampler(seed=0, n_startup_trials=4),
}


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def fits(fusion, motion_backbone, pretrained, clip_length, balance) -> bool:
    """The conditions and exclusions of `CONDITIONAL` once more; "-" is what is not asked for."""
    joined = fusion != "appearance_only"
    return (
        (motion_backbone != "-") == joined
        and (pretrained != "-") == (motion_backbone == "c3d_gap")
        and not (fusion == "gated" and clip_length > 8)
        and not (balance == "sampler" and motion_backbone == "c3d_gap")
    )


ALLOWED = [
    dict(zip(names, values, strict=True))
    for names in [("fusion", "motion_backbone", "pretrained", "clip_length", "balance")]
    for values in product(
        ["appearance_only", "late_average", "gated"],
        ["-", None, "c3d_gap"],
        ["-", None],
        [8, 16, 24],
        ["weights", "sampler"],
    )
    if fits(*values)
]
ALLOWED = [{n: v for n, v in drawn.items() if v != "-"} for drawn in ALLOWED]


def test_a_grid_has_every_combination_that_is_allowed_once(tmp_path):
    space = space_of(tmp_path, CONDITIONAL % "grid")
    grid = space.grid()
    fixed = {"size": 48, "width": 0.125}
    assert space.num_trials == len(grid) == len(ALLOWED) == 18
    assert all(fixed | drawn in grid for drawn in ALLOWED)
    assert len({TrainConfig(**configuration) for configuration in grid}) == len(grid)


def test_a_trial_is_asked_for_active_parameters_alone(tmp_path):
    space = space_of(tmp_path, CONDITIONAL % "tpe")
    alone = {"fusion": "appearance_only", "clip_length": 16, "balance": "sampler"}
    trial = FixedTrial(alone)
    assert space.suggest(trial) == {"size": 48, "width": 0.125, **alone}
    assert trial.params == alone
    chain = {
        **{"fusion": "late_average", "motion_backbone": "c3d_gap", "pretrained": None},
        **{"clip_length": 24, "balance": "weights"},
    }
    assert space.suggest(FixedTrial(chain)) == {"size": 48, "width": 0.125, **chain}
    with pytest.raises(ValueError, match="motion_backbone"):
        space.suggest(FixedTrial(alone | {"fusion": "gated"}))


def test_what_is_excluded_is_pruned_before_anything_is_trained(tmp_path):
    space = space_of(tmp_path, CONDITIONAL % "tpe")
    drawn = {"fusion": "gated", "motion_backbone": None, "clip_length": 16, "balance": "weights"}
    with pytest.raises(ExcludedError, match="excludes fusion=gated, clip_length=16"):
        space.suggest(FixedTrial(drawn))
    with pytest.raises(optuna.TrialPruned):
        space.suggest(FixedTrial(drawn))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("directions", [["maximize"], ["maximize", "minimize"]])
def test_a_study_trains_only_what_is_allowed(tmp_path, sampler, directions):
    space = space_of(tmp_path, CONDITIONAL % sampler)
    trained = []

    def objective(trial):
        configuration = space.suggest(trial)
        trained.append({n: v for n, v in configuration.items() if n not in space.fixed})
        return [float(configuration["clip_length"])] * len(directions)

    study = optuna.create_study(directions=directions, sampler=SAMPLERS[sampler]())
    study.optimize(objective, n_trials=40)
    states = [trial.state for trial in study.trials]
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(trained) == states.count(TrialState.COMPLETE) > 10
    assert all(drawn in ALLOWED for drawn in trained)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_every_sampler_draws_values_that_can_be_trained(tmp_path, sampler):
    space = space_of(tmp_path, FLAT)
    study = optuna.create_study(sampler=SAMPLERS[sampler]())
    for number in range(12):
        trial = study.ask()
        configuration = TrainConfig(**space.suggest(trial))
        assert configuration.clip_length in (8, 16, 24) and configuration.ema in (None, 0.9)
        assert 2 <= configuration.batch_size <= 64
        assert 1e-5 <= configuration.learning_rate <= 1e-2
        assert round(configuration.dropout, 6) in (0.1, 0.3, 0.5, 0.7)
        assert trial.distributions == space.distributions()
        study.tell(trial, float(number))


def test_what_the_distributions_draw_is_what_a_trial_is_asked_for(tmp_path):
    space = space_of(tmp_path, FLAT)
    trial = optuna.create_study().ask(space.distributions())
    assert space.suggest(trial) == {"size": 48, "width": 0.125, **trial.params}


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_a_configuration_is_tried_when_its_values_are_enqueued(tmp_path, sampler):
    space = space_of(tmp_path, CONDITIONAL % sampler)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=5))
    for configuration in space.grid():
        study.enqueue_trial(space.drawn(configuration))
    assert [space.suggest(study.ask()) for _ in space.grid()] == space.grid()


def test_a_budget_below_the_grid_takes_a_random_part_that_the_seed_draws(tmp_path):
    space = space_of(tmp_path, CONDITIONAL % "grid")
    assert space.listed() == space.grid()  # its budget of 30 is more than the grid
    part = replace(space, budget=Budget(trials=9))
    listed = part.listed()
    assert part.num_trials == len(listed) == 9 and listed == part.listed()
    assert [c for c in space.grid() if c in listed] == listed
    assert listed != space.grid()[:9]
    other = replace(part, sampler=replace(part.sampler, seed=2))
    assert other.listed() != listed


def test_two_ways_to_write_a_configuration_are_tried_once(tmp_path):
    space = space_of(
        tmp_path,
        OBJECTIVE
        + SMALL
        + "sampler: grid\n"
        + "parameters:\n  backbone: [slow_50, c3d_gap]\n  motion_backbone: [null, slow_50]\n",
    )
    assert [(c["backbone"], c["motion_backbone"]) for c in space.grid()] == [
        ("slow_50", None),
        ("c3d_gap", None),
        ("c3d_gap", "slow_50"),
    ]


def test_rows_are_asked_for_by_name(tmp_path):
    space = space_of(
        tmp_path,
        OBJECTIVE + SMALL + "rows:\n  3D CNN: {fusion: appearance_only}\n"
        "  3D CNN, optical flow: {fusion: late_separate}\n",
    )
    assert space.is_listed and space.num_trials == 2 and space.budget == Budget()
    configuration = {"size": 48, "width": 0.125, "fusion": "late_separate"}
    assert space.grid()[1] == space.listed()[1] == configuration
    assert space.drawn(configuration) == {"row": "3D CNN, optical flow"}
    trial = optuna.create_study().ask(space.distributions())
    assert space.suggest(trial) in space.grid()
    assert space.suggest(FixedTrial(space.drawn(configuration))) == configuration


def test_an_endless_space_has_no_grid(tmp_path):
    space = space_of(tmp_path, FLAT)
    assert not space.is_listed
    with pytest.raises(ValueError, match="batch_size has no end of values"):
        space.grid()


def test_time_alone_is_a_budget(tmp_path):
    space = space_of(tmp_path, FLAT.replace("budget: 30", "budget: {hours: 2}"))
    assert space.num_trials is None and space.budget.time_seconds == 7200


def test_a_space_travels_to_other_processes(tmp_path):
    space = space_of(tmp_path, CONDITIONAL % "tpe")
    assert pickle.loads(pickle.dumps(space)) == space
