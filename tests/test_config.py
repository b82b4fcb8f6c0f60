import re
from dataclasses import MISSING, fields, replace

import pytest
from pydantic import ValidationError

from asd_experiments.config import (
    ExplainConfig,
    PreprocessConfig,
    PromoteConfig,
    SimulateConfig,
    SweepConfig,
    TrainConfig,
    TrialConfig,
    as_text,
    close_defaults,
)


def test_text_becomes_values_and_an_empty_text_an_open_default():
    config = TrainConfig(store="", width="", learning_rate="1e-4", augment="false", folds="3")
    assert (config.store, config.width, config.learning_rate) == (None, None, 1e-4)
    assert config.augment is False and config.folds == 3


def test_all_wrong_values_are_reported_together():
    with pytest.raises(ValidationError) as caught:
        TrainConfig(clip_length="long", width="-1", backbone="resnet", dropout="1")
    wrong = {error["loc"][0] for error in caught.value.errors()}
    assert wrong == {"clip_length", "width", "backbone", "dropout"}


def test_a_trial_closes_what_is_open_and_keeps_what_is_given():
    trial = close_defaults(TrainConfig(width="0.5"), width=0.125, epochs=3)
    assert (trial.width, trial.epochs, trial.size) == (0.5, 3, 112)
    assert trial.stride == 16
    assert replace(trial, clip_stride=4).stride == 4


def test_a_search_can_only_set_fields_that_exist_to_values_that_are_right():
    trial = close_defaults(TrainConfig())
    with pytest.raises(ValidationError, match="clip_len"):
        replace(trial, clip_len=8)
    with pytest.raises(ValidationError, match="folds"):
        replace(trial, folds=1)


def test_the_help_names_the_defaults_that_trials_have():
    described = TrainConfig.__pydantic_fields__
    for field in fields(TrialConfig):
        if field.name == "loader_workers":  # follows the machine
            continue
        if field.default != described[field.name].default and field.default is not MISSING:
            named = re.search(r"Not given: ([0-9.]+|true)", described[field.name].description)
            given = replace(TrialConfig(), **{field.name: named[1].rstrip(".")})
            assert getattr(given, field.name) == field.default, field.name


def test_the_recipe_is_what_changes_the_result():
    first = PreprocessConfig(videos="a", labels="b", store="c")
    second = PreprocessConfig(
        videos="x", labels="y", store="z", flow_weights="w", people_weights="p", people_config="c"
    )
    assert first.recipe == second.recipe
    for change in ({"size": 64}, {"margin": 0.2}, {"smoothing_seconds": 2}, {"flow": "raft_small"}):
        assert replace(first, **change).recipe != first.recipe


def test_a_finder_without_masks_needs_a_segmenter():
    with pytest.raises(
        ValidationError,
        match="people=onnx finds no masks; choose segment=background, grabcut or torchvision",
    ):
        PreprocessConfig(videos="a", labels="b", people="onnx")
    assert PreprocessConfig(videos="a", labels="b", people="onnx", segment="grabcut").recipe


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (None, ""), (3e-4, "0.0003")])
def test_values_are_written_as_mlproject_writes_them(value, text):
    assert as_text(value) == text


def test_a_picture_has_an_even_height():
    with pytest.raises(ValidationError, match="multiple of 2"):
        SimulateConfig(out="x", height=241)


def test_where_videos_are_preprocessed_is_no_part_of_the_recipe():
    alone = PreprocessConfig("v", "l", workers="", ray_address="")
    assert (alone.workers, alone.ray_address) == (None, None)
    spread = replace(alone, workers=4, ray_address="auto")
    assert spread.recipe == alone.recipe
    with pytest.raises(ValidationError, match="greater than 0"):
        replace(alone, workers=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pretrained": "w.pth", "width": 0.5}, "pretrained needs width=1 .* got 0.5"),
        (
            {"pretrained": "w.pth", "motion_backbone": "c3d"},
            "weights of one kind of network; give motion_pretrained for the other one, or leave",
        ),
        ({"motion_pretrained": "w.pth", "width": 2}, "pretrained needs width=1 .* got 2"),
        ({"backbone_lr_factor": 0}, "backbone_lr_factor"),
        ({"freeze": "head"}, "freeze"),
    ],
)
def test_pretraining_that_cannot_be_is_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        TrainConfig(**given)


def test_each_stream_may_have_weights_of_its_own():
    TrainConfig(pretrained="a.pth", motion_backbone="c3d", motion_pretrained="b.pth")
    TrainConfig(pretrained="a.pth", motion_backbone="c3d", motion_pretrained="none")
    TrainConfig(motion_pretrained="none", width=0.5)


def test_pretrained_weights_keep_the_published_width_in_the_demo():
    trial = close_defaults(TrainConfig(pretrained="kinetics400"), width=0.125, size=48)
    assert (trial.width, trial.size) == (1.0, 48)
    assert close_defaults(TrainConfig(motion_pretrained="w.pth"), width=0.125).width == 1.0
    assert close_defaults(TrainConfig(), width=0.125).width == 0.125


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"find_batch_size": "true", "device": "cpu"}, "find_batch_size=true needs a GPU"),
        ({"find_batch_size": "true", "accumulate": "4"}, "accumulate=4 larger than that"),
        ({"ema": "1"}, "less than 1"),
        ({"label_smoothing": "1"}, "less than 1"),
        ({"gradient_clip": "0"}, "greater than 0"),
        ({"balance": "oversample"}, "'weights', 'sampler' or 'none'"),
    ],
)
def test_training_options_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TrainConfig(**settings)


def test_training_options_may_be_left_open():
    trial = close_defaults(TrainConfig(ema="", gradient_clip="", resume=""))
    assert (trial.ema, trial.gradient_clip, trial.resume) == (None, None, None)
    assert close_defaults(TrainConfig(ema="0.99", gradient_clip="1")).ema == 0.99


def test_patients_to_explain_are_named_once_each():
    config = ExplainConfig(run="r", patients=" P02,P01, P02,", count="")
    assert config.patient_ids == ("P02", "P01")
    assert ExplainConfig(run="r", patients="", count="3").patient_ids == ()


def test_a_cluster_is_only_rays():
    assert SweepConfig(engine="ray", ray_address="auto").ray_address == "auto"
    with pytest.raises(ValidationError, match="engine=optuna runs without Ray; leave one of them"):
        SweepConfig(engine="optuna", ray_address="auto")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patients": "P01", "count": "2"}, "whom to explain and count how many; choose one"),
        ({"patients": " , "}, "patients must name at least one, got ' , '"),
        ({"run": ""}, "must not be empty"),
        ({"steps": "7"}, "greater than or equal to 8"),
        ({"count": "0"}, "greater than 0"),
    ],
)
def test_what_cannot_be_explained_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ExplainConfig(**{"run": "r", **settings})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give version= or run=, one of them, got neither"),
        ({"version": "2", "run": "abc"}, "give version= or run=, one of them, got both"),
        ({"version": "2", "yes": "true", "rule": "superior"}, "yes=true moves the alias whatever"),
        ({"version": "2", "rule": "non_inferior"}, "rule=non_inferior needs margin="),
        ({"version": "2", "margin": "0.05"}, "margin: belongs to rule=non_inferior"),
        ({"version": "2", "rule": "better"}, "should be 'superior' or 'non_inferior'"),
        ({"version": "2", "name": " "}, "must not be empty"),
    ],
)
def test_a_promotion_says_what_is_promoted_and_when(given, message):
    with pytest.raises(ValidationError, match=message):
        PromoteConfig(**given)
