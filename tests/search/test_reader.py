"""Files of search spaces: what is read from them, and what is said of wrong ones."""

import hashlib

import pytest

from asd_experiments.errors import InputError
from asd_experiments.search.domains import Choices, FloatRange, IntRange
from asd_experiments.search.reader import load_space
from asd_experiments.search.settings import Budget, Objective, Pruner, Sampler
from tests.search.files import OBJECTIVE, SMALL, problems_of, space_of

WHOLE = """\
name: everything
description: All that a file can hold
objective: {metric: val/patient/auroc, direction: maximize}
sampler: {name: tpe, seed: 3}
pruner: {name: asha, min_epochs: 4}
budget: {trials: 20, hours: 1.5}
fixed:
  size: 48
  segmentation: off
parameters:
  ema: {choices: [0.9, 0.99], when: {learning_rate: 0.001}}
  fusion: [late_average, gated]
  clip_length: {low: 8, high: 32, step: 8}
  learning_rate: {choices: [1e-3, 1e-4], when: {fusion: gated, clip_length: [8, 16]}}
  weight_decay: {low: 1e-4, high: 1e-1, log: true}
  dropout: {low: 0.1, high: 0.7, step: 0.2}
  batch_size: {low: 2, high: 16, log: true}
exclude:
  - {fusion: gated, clip_length: [24, 32]}
"""


def test_a_file_is_read_whole(tmp_path):
    space = space_of(tmp_path, WHOLE)
    assert (space.name, space.description) == ("everything", "All that a file can hold")
    assert space.sha256 == hashlib.sha256(WHOLE.encode()).hexdigest()
    assert space.objectives == (Objective("val/patient/auroc", "maximize"),)
    assert (space.sampler, space.pruner) == (Sampler("tpe", seed=3), Pruner("asha", min_epochs=4))
    assert space.budget == Budget(trials=20, hours=1.5) and space.num_trials == 20
    assert space.fixed == {"size": 48, "segmentation": False}
    assert space.exclude == ({"fusion": ("gated",), "clip_length": (24, 32)},)
    assert {p.name: p.domain for p in space.parameters} == {
        "fusion": Choices(("late_average", "gated")),
        "clip_length": IntRange(8, 32, step=8),
        "learning_rate": Choices((1e-3, 1e-4)),
        "ema": Choices((0.9, 0.99)),
        "weight_decay": FloatRange(1e-4, 1e-1, log=True),
        "dropout": FloatRange(0.1, 0.7, step=0.2),
        "batch_size": IntRange(2, 16, log=True),
    }


def test_parameters_keep_the_order_of_the_file_but_for_conditions(tmp_path):
    parameters = space_of(tmp_path, WHOLE).parameters
    assert [parameter.name for parameter in parameters] == [
        *("fusion", "clip_length", "learning_rate", "ema", "weight_decay", "dropout", "batch_size")
    ]
    conditions = {parameter.name: parameter.when for parameter in parameters if parameter.when}
    assert conditions == {
        "learning_rate": {"fusion": ("gated",), "clip_length": (8, 16)},
        "ema": {"learning_rate": (1e-3,)},
    }


def test_what_is_left_out_has_its_default(tmp_path):
    space = space_of(tmp_path, OBJECTIVE + "budget: 4\nparameters: {augment: [yes, no]}")
    assert (space.name, space.sampler, space.pruner) == ("space", Sampler("tpe"), Pruner("none"))
    assert space.parameters[0].domain == Choices((True, False))
    assert (space.fixed, space.exclude, space.rows) == ({}, (), ())


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r"space: there is no file 'nowhere.yaml'"):
        load_space("nowhere.yaml")


def test_every_problem_is_listed_with_file_line_and_parameter(tmp_path):
    text = """\
nam: x
objective: {metric: test/patient/auroc, direction: maximize}
budget: {trials: 0}
fixed:
  store: /x
  folds: 1
  learning_rat: 1e-4
parameters:
  fusion: [late_averag, gated, gated]
  learning_rate: {low: 0.1, high: 0.01}
  motion_backbone: {choices: [slow_50], when: {fusion: concat}}
exclude: {fusion: gated}
"""
    expected = [
        "1: nam: no such section; did you mean 'name'?",
        "2: objective: metric: must begin with val/, got 'test/patient/auroc': the outer test",
        "3: budget: trials: should be greater than 0, got '0'",
        "5: store: not part of a search space: all trials read the clip store that the sweep is",
        "6: folds: should be greater than or equal to 2, got '1'",
        "7: learning_rat: no such parameter of train; did you mean 'learning_rate'?",
        "9: fusion: gated stands twice among the choices",
        "9: fusion: should be 'appearance_only', ",
        "10: learning_rate: low must be smaller than high, got 0.1 and 0.01",
        "11: motion_backbone: when: fusion: should be 'appearance_only', ",
        "12: exclude: must be a list of combinations, got names with values",
    ]
    problems = problems_of(tmp_path, text)
    assert len(problems) == len(expected)
    assert [p[: len(e)] for p, e in zip(problems, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        ("clip_length: 16", "must have choices, or low and high, got '16'; one value that all"),
        ("clip_length: []", "must have at least one value, got an empty list"),
        ("clip_length: [[8]]", "must be one value, got a list"),
        ("clip_length: {choices: 8}", "choices must be a list, got '8'"),
        ("clip_length: {}", "must have choices, or low and high"),
        ("clip_length: {choices: [8], low: 8}", "must have choices or a range, got both (low)"),
        ("clip_length: {low: 8}", "must have high"),
        ("clip_length: {low: 2, high: 16}", "low: should be greater than or equal to 4, got '2'"),
        ("clip_length: {low: 8.5, high: 16}", "low: should be a valid integer"),
        ("clip_length: {low: 8, high: [16]}", "high: must be one value, got a list"),
        ("clip_length: {low: 8, high: 16, step: 0}", "step must be a whole number of at least 1"),
        ("clip_length: {low: 8, high: 16, step: 0.5}", "step must be a whole number of at least 1"),
        (
            "clip_length: {low: 8, high: 15, step: 4}",
            "high must be low and a whole number of steps, got 8, 15 and a step of 4; take high: 1",
        ),
        ("clip_length: {low: 8, high: 16, step: 4, log: true}", "step and log exclude each other"),
        ("clip_length: {low: 8, high: 16, log: 1}", "log must be true or false, got '1'"),
        ("clip_length: {min: 8, high: 16}", "min is called low here"),
        ("clip_length: {values: [8]}", "values is called choices here"),
        ("clip_length: {low: 8, hig: 16}", "hig: no such setting; did you mean 'high'?"),
        ("size: {low: null, high: 64}", "low must be a number, got null"),
        ("weight_decay: {low: 0, high: 0.1, log: true}", "low must be positive where log is true"),
        ("weight_decay: {low: 0, high: 0.1, step: inf}", "step must be a positive number, got"),
        ("weight_decay: {low: 0, high: inf}", "high: must be a finite number, got 'inf'"),
        ("dropout: {low: 0.0, high: 1.0}", "high: should be less than 1, got '1.0'"),
        ("fusion: {low: 1, high: 2}", "is no number, so it needs choices rather than a range"),
        ("segmentation: {low: 0, high: 1}", "is no number, so it needs choices"),
        ("learning_rate: [1e-4, 0.0001]", "0.0001 stands twice among the choices"),
        ("ema: [none, 0.9]", "should be a valid number, unable to parse string as a number, got"),
        ("folds: [3, 5]", "trials would be judged on different folds; write its one value under"),
        ("gradient_checkpointing: [true, false]", "it changes memory and time, not the result"),
        ("final: [ensemble, refit]", "it chooses what the logged model answers with, not what"),
        ("device: [cpu, gpu]", "not part of a search space: where trials are trained is given to"),
        ("find_batch_size: [true]", "not part of a search space: the batch would follow the machi"),
        ("backbon: [c3d]", "no such parameter of train; did you mean 'backbone'?"),
        (
            "seed: [0, 1]",
            "is luck, and a search that may choose it chooses luck; take sampler: gri",
        ),
        ("width: {choices: [1], when: {}}", "when: must be names of parameters with values, got"),
        ("width: {choices: [1], when: {fusin: gated}}", "when: fusin: no such free parameter; did"),
        ("width: {choices: [1], when: {size: 48}}", "when: size is fixed in line 3"),
        ("width: {choices: [1], when: {fusion: lateral}}", "when: fusion is never lateral here"),
        ("width: {choices: [1], when: {width: 1}}", "when goes round in a circle: width -> width"),
        ("width: {choices: [1], when: {fusion: []}}", "when: fusion: must have at least one value"),
    ],
)
def test_a_wrong_parameter_is_refused_by_line(tmp_path, parameter, problem):
    text = OBJECTIVE + "budget: 4\nfixed: {size: 48, augment: true}\nparameters:\n"
    if not parameter.startswith("fusion"):
        text += "  fusion: [gated, late_average]\n"
    if parameter.startswith("size"):
        text = text.replace("size: 48, ", "")
    text += f"  {parameter}\n"
    name = parameter.split(":")[0]
    (found,) = [p for p in problems_of(tmp_path, text) if problem in p]
    assert found.startswith(f"{text.count(chr(10))}: {name}: {problem}")


def test_a_circle_of_conditions_is_refused(tmp_path):
    text = OBJECTIVE + (
        "budget: 4\n"
        "parameters:\n"
        "  size: [32, 48]\n"
        "  width: {choices: [1, 2], when: {dropout: 0.5}}\n"
        "  dropout: {choices: [0.1, 0.5], when: {warm_up: 0.1}}\n"
        "  warm_up: {choices: [0.1, 0.2], when: {width: 2, size: 32}}\n"
    )
    assert problems_of(tmp_path, text) == [
        "5: width: when goes round in a circle: width -> dropout -> warm_up -> width"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("parameters: {augment: [true]}\nbudget: 2", "1: objective: must be given: a metric and"),
        (OBJECTIVE + "budget: 2", "1: parameters: must be given, or rows: what is to be tried"),
        (OBJECTIVE + "parameters: {augment: [true]}", "1: budget: must have trials, hours or bot"),
        (OBJECTIVE + "parameters: []", "2: parameters: must be names with what to try, got a list"),
        (OBJECTIVE + "fixed: [a]", "2: fixed: must be parameters with their values, got a list"),
        (OBJECTIVE + "fixed: {ema: [0.9]}", "2: ema: must be one value, got a list"),
        (OBJECTIVE + "name: [a]", "2: name: must be a text, got a list"),
        (OBJECTIVE + "objectives: []", "2: objectives: give one of objective, objectives"),
        ("objectives: []", "1: objectives: must be at least one metric, each of them once"),
        (OBJECTIVE + "rows: []", "2: rows: must be names with the parameters of each, got a list"),
        (OBJECTIVE + "rows: {a: 1}", "2: a: must be parameters with values, got '1'"),
        (
            OBJECTIVE + "fixed: {size: 48}\nrows:\n  a: {size: 64}",
            "4: a: size is fixed in line 2",
        ),
        (OBJECTIVE + "rows:\n  a: {folds: 3}", "3: folds: trials would be judged on different fol"),
        (OBJECTIVE + "rows:\n  a: {ema: 2}", "3: a: ema: should be less than 1, got '2'"),
        (
            OBJECTIVE + SMALL + "rows:\n  a: {}\n  b: {backbone: slow_50}",
            "5: b: is the same configuration as a",
        ),
        (
            OBJECTIVE + SMALL + "rows: {a: {}}\nparameters: {augment: [true]}",
            "4: parameters: has no place beside rows, which are tried as they are",
        ),
        (OBJECTIVE + "rows: {a: {}}\nsampler: tpe", "3: sampler: has no place beside rows"),
        (OBJECTIVE + "rows: {a: {}}\npruner: asha", "3: pruner: a row that was stopped early has"),
        (OBJECTIVE + "rows: {a: {}}\nbudget: 3", "3: budget: all rows are tried; leave trials out"),
        (
            OBJECTIVE + "sampler: grid\nparameters: {dropout: {low: 0.1, high: 0.5}}",
            "3: dropout: a grid needs an end of values; give choices, or a step without log",
        ),
        (
            OBJECTIVE + "pruner: asha\nbudget: 4\nparameters: {epochs: [5, 9]}",
            "2: pruner: asha compares trials after the same epochs, so epochs cannot be searched",
        ),
    ],
)
def test_sections_must_fit_together(tmp_path, text, problem):
    assert any(found.startswith(problem) for found in problems_of(tmp_path, text))


@pytest.mark.parametrize("sampler", ["gp", "nsga2", "qmc"])
def test_samplers_that_know_no_conditions_get_none(tmp_path, sampler):
    text = OBJECTIVE + SMALL + f"sampler: {sampler}\nbudget: 4\n"
    free = "parameters:\n  balance: [none, weights]\n"
    assert not problems_of(tmp_path, text + free + "  ema: [null, 0.9]")
    assert problems_of(
        tmp_path, text + free + "  ema: {choices: [0.9], when: {balance: none}}"
    ) == [
        f"3: sampler: {sampler} draws parameters with a condition (ema) blindly; choose tpe, "
        "random or grid"
    ]


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_a_pruner_compares_by_one_metric(tmp_path, pruner):
    text = (
        "objectives:\n"
        "  - {metric: val/patient/auroc, direction: maximize}\n"
        "  - {metric: val/patient/brier, direction: minimize}\n"
        f"budget: 4\n{SMALL}parameters: {{augment: [true, false]}}\n"
    )
    assert len(space_of(tmp_path, text).objectives) == 2
    assert problems_of(tmp_path, f"{text}pruner: {pruner}") == [
        f"7: pruner: {pruner} compares trials by one metric, got 2 objectives; choose none"
    ]


def test_clips_are_not_compared_with_other_clips(tmp_path):
    text = "objective: {metric: val/clip/f1, direction: maximize}\nsampler: grid\n" + SMALL
    assert not problems_of(tmp_path, text + "parameters: {augment: [true, false]}")
    problem = "1: objective: val/clip/f1 would be of other clips in every trial, as clip_length is"
    (found,) = problems_of(tmp_path, text + "parameters: {clip_length: [8, 16]}")
    assert found.startswith(problem)
    rows = text.replace("sampler: grid\n", "") + "rows:\n  a: {clip_length: 8}\n  b: {}"
    (found,) = problems_of(tmp_path, rows)
    assert found.startswith(problem)


def test_repetitions_by_seed_are_a_grid(tmp_path):
    text = OBJECTIVE + SMALL + "sampler: grid\nparameters: {seed: {low: 0, high: 4}}"
    assert [c["seed"] for c in space_of(tmp_path, text).grid()] == [0, 1, 2, 3, 4]
