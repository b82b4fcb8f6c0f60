"""Values that cannot be trained together are known before anything runs."""

import ast
import inspect
import textwrap
import time

import pytest

from asd_experiments.config import TrainConfig, close_defaults
from asd_experiments.demo import DEMO_DEFAULTS
from asd_experiments.search import combinations as module
from asd_experiments.search.combinations import LINKED, Refusal, why_impossible
from asd_experiments.training.cross_validation import check_trial
from tests.search.files import OBJECTIVE, SMALL, problems_of, space_of

GRID = OBJECTIVE + "sampler: grid\n"
TPE = OBJECTIVE + "sampler: tpe\nbudget: 9\n"


def test_the_fewest_values_that_exclude_each_other_are_named_with_the_remedy(tmp_path):
    text = (
        GRID
        + SMALL
        + (
            "parameters:\n"
            "  fusion: [late_average, lateral, gated]\n"
            "  segmentation: [true, false]\n"
            "  backbone: [resnet2d_50, slow_50, cnn_lstm]\n"
        )
    )
    assert problems_of(tmp_path, text) == [
        "7: fusion=lateral, backbone=resnet2d_50 or cnn_lstm cannot be trained: lateral connects "
        "frames over time, but resnet2d_50 looks at one frame at a time; choose a 3D network for "
        "both streams, or another fusion (4 of 18 combinations); give one of them a when:, or put "
        "under exclude: - {fusion: lateral, backbone: [resnet2d_50, cnn_lstm]}"
    ]
    remedy = "exclude:\n  - {fusion: lateral, backbone: [resnet2d_50, cnn_lstm]}\n"
    assert space_of(tmp_path, text + remedy).num_trials == 14


def test_a_condition_is_a_remedy_too(tmp_path):
    text = (
        GRID
        + SMALL
        + (
            "parameters:\n"
            "  fusion: [appearance_only, late_average]\n"
            "  motion_backbone: {choices: [null, c3d_gap], when: {fusion: late_average}}\n"
        )
    )
    assert space_of(tmp_path, text).num_trials == 3
    (problem,) = problems_of(tmp_path, text.replace(", when: {fusion: late_average}", ""))
    assert problem.startswith(
        "6: fusion=appearance_only, motion_backbone=c3d_gap cannot be trained: appearance_only has "
        "no network for the motion stream alone"
    )


@pytest.mark.parametrize("start", [GRID, TPE])
def test_a_network_of_one_clip_is_refused_others(tmp_path, start):
    text = start + (
        "fixed: {size: 112}\n"
        "parameters:\n"
        "  backbone: [c3d, slow_50]\n"
        "  clip_length: {low: 8, high: 24, step: 8}\n"
        "  dropout: [0.1, 0.5]\n"
    )
    (problem,) = problems_of(tmp_path, text)
    line = text[: text.index("  clip_length")].count("\n") + 1
    assert problem.startswith(f"{line}: backbone=c3d, clip_length=8 or 24 cannot be trained: ")
    assert problem.endswith("under exclude: - {backbone: c3d, clip_length: [8, 24]}")


def test_what_the_sweep_closes_open_parameters_with_counts(tmp_path):
    text = TPE + "parameters:\n  backbone: [c3d, slow_50]\n"
    assert not problems_of(tmp_path, text)
    (problem,) = problems_of(tmp_path, text, defaults=DEMO_DEFAULTS)
    assert problem.startswith("5: backbone=c3d cannot be trained: clip_length and size of c3d must")
    assert problem.endswith(
        "got 16 and 48; choose c3d_gap for other clips (1 of 2 combinations); take it out"
    )


@pytest.mark.parametrize(
    ("fixed", "free", "problem"),
    [
        (
            "freeze: stem",
            "augment: [true, false]",
            "parameters: nothing in this space can be trained: freeze=stem keeps weights as",
        ),
        (
            "pretrained: kinetics400",
            "width: {low: 0.25, high: 1.0, step: 0.25}",
            "width=0.25 or 0.5 or 0.75 cannot be trained: pretrained needs width=1",
        ),
        (
            "pretrained: kinetics400",
            "backbone: [resnet2d_50, slow_50]",
            "backbone=resnet2d_50 cannot be trained: pretrained=kinetics400: no hub has such",
        ),
        (
            "motion_backbone: c3d_gap",
            "pretrained: [null, weights.pt]",
            "pretrained=weights.pt cannot be trained: pretrained=FILE holds the weights of one",
        ),
    ],
)
def test_rules_between_parameters_are_those_of_training(tmp_path, fixed, free, problem):
    text = TPE + f"fixed: {{{fixed}}}\nparameters:\n  {free}\n"
    assert [found.split(": ", 1)[1][: len(problem)] for found in problems_of(tmp_path, text)] == [
        problem
    ]


def test_every_row_is_built(tmp_path):
    text = OBJECTIVE + "fixed: {size: 112}\nrows:\n  a: {backbone: c3d, clip_length: 8}\n  b: {}\n"
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith("4: a: cannot be trained: clip_length and size of c3d must be 16 and")


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("exclude:\n  - {fusion: [gated, late_max]}\n", "5: parameters: exclude leaves no combin"),
        ("exclude:\n  - {fusion: gated}\n", "6: fusion: gated is in no combination"),
        (
            "  ema: {choices: [0.9], when: {warm_up: 0.2}}\n"
            "  warm_up: {choices: [0.1, 0.2], when: {dropout: 0.1}}\n"
            "  dropout: [0.1, 0.5]\n"
            "exclude:\n  - {dropout: 0.1, warm_up: 0.2}\n",
            "7: ema: its when: never holds",
        ),
    ],
)
def test_what_is_never_tried_is_refused(tmp_path, extra, problem):
    text = GRID + SMALL + "\nparameters:\n  fusion: [gated, late_max]\n" + extra
    assert any(found.startswith(problem) for found in problems_of(tmp_path, text))


def test_a_space_without_measure_is_refused_at_once(tmp_path):
    text = (
        GRID
        + SMALL
        + "parameters:\n"
        + "".join(
            f"  {name}: {{low: {low}, high: {high}}}\n"
            for name, low, high in [("clip_length", 4, 60), ("batch_size", 1, 60), ("seed", 0, 60)]
        )
    )
    start = time.perf_counter()
    assert problems_of(tmp_path, text) == [
        "4: parameters: more than 100,000 combinations; take fewer, or leave more out"
    ]
    assert time.perf_counter() - start < 5


def test_many_reasons_are_not_all_told(tmp_path, monkeypatch):
    monkeypatch.setattr("asd_experiments.search.rules._MOST_NAMED", 1)
    text = GRID + "fixed: {size: 48}\nparameters:\n  backbone: [c3d, slow_50]\n"
    text += "  fusion: [lateral, late_max]\n  motion_backbone: [null, resnet2d_50]\n"
    problems = problems_of(tmp_path, text)
    assert len(problems) == 2
    assert problems[0] == "4: parameters: and 1 more of this kind"


@pytest.mark.parametrize(
    "given",
    [
        {"backbone": "slow_50", "size": 48, "width": 0.125},
        {"backbone": "c3d", "size": 48},
        {"backbone": "cnn_lstm", "fusion": "lateral", "width": 0.125},
        {"fusion": "early_concat", "motion_backbone": "c3d_gap", "width": 0.125},
        {"fusion": "conv_fusion", "motion_backbone": "c3d_gap", "width": 0.125},
        {"backbone": "csn_101", "pretrained": "imagenet1k"},
        {"fusion": "early_concat", "motion_pretrained": "kinetics400"},
    ],
)
def test_a_refusal_is_that_of_the_training(given):
    reason = why_impossible(given, {})
    trial = close_defaults(TrainConfig(**given))
    if reason is None:
        check_trial(trial)
    else:
        with pytest.raises(ValueError, match="cannot be trained") as refused:
            check_trial(trial)
        assert reason in str(refused.value)


def test_networks_are_looked_at_once(monkeypatch):
    given = {"backbone": "x3d_s", "size": 64, "width": 0.125}
    assert why_impossible(given, {}) is None
    monkeypatch.setattr(module, "check_two_stream", None)
    assert why_impossible(given | {"learning_rate": 1e-3, "segmentation": False}, {}) is None


def test_every_parameter_of_a_rule_is_combined():
    rules = TrainConfig.__pydantic_decorators__.model_validators.values()
    named: set[str] = set()
    for rule in rules:
        tree = ast.parse(textwrap.dedent(inspect.getsource(rule.func)))
        named |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        }
    assert {"freeze", "pretrained"} <= named
    of_the_sweep = {"find_batch_size", "device"}  # without which `accumulate` meets no rule
    assert named - of_the_sweep - {"is_pretrained", "accumulate"} <= set(LINKED)
    network = set(close_defaults(TrainConfig()).network) - {"dropout"}
    assert network <= set(LINKED)


def test_a_refusal_is_written_as_yaml_has_it():
    refusal = Refusal({"augment": (True,), "ema": (None, 0.9)}, 3, "why")
    assert refusal.as_written == "{augment: true, ema: [null, 0.9]}"
    assert str(refusal) == "augment=true, ema=null or 0.9 cannot be trained: why"
