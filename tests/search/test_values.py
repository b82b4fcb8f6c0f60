from dataclasses import fields

import pytest

from asd_experiments.config import TrainConfig
from asd_experiments.search.document import Listing, Problems, Scalar
from asd_experiments.search.values import (
    _NOT_WORTH_A_SEARCH,
    _OF_THE_SWEEP,
    _THE_SAME_FOR_ALL,
    number_type,
    parse_value,
    read_value,
    written,
)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", ".5", 0.5),
        ("weight_decay", "0", 0.0),
        ("clip_length", "010", 10),
        ("segmentation", "no", False),
        ("segmentation", "on", True),
        ("balance", "none", "none"),
        ("group_by", "off", "off"),
        ("ema", "null", None),
        ("motion_backbone", "~", None),
        ("pretrained", "weights/slow.pt", "weights/slow.pt"),
    ],
)
def test_a_value_is_what_the_command_line_makes_of_it(name, text, value):
    read = parse_value(name, Scalar(text, line=1))
    assert read == value and type(read) is type(value)
    if value is not None:
        assert getattr(TrainConfig(**{name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("clip_length", "true", "unable to parse string as an integer, got 'true'"),
        ("clip_length", "2", "should be greater than or equal to 4, got '2'"),
        ("dropout", "1", "should be less than 1, got '1'"),
        ("dropout", "null", "must not be null; leave it out for its default"),
        ("dropout", "nan", "got 'nan'|must be a finite number"),
        ("learning_rate", "inf", "must be a finite number, got 'inf'"),
        ("learning_rate", "1:30", "unable to parse string as a number, got '1:30'"),
        ("backbone", "slow50", "got 'slow50'; did you mean 'slow_50'"),
        ("motion_backbone", "slow50", "got 'slow50'; did you mean 'slow_50'"),
        ("ema", "none", "got 'none'; write null for 'not given'"),
    ],
)
def test_a_wrong_value_is_answered_with_the_rule(name, text, message):
    with pytest.raises(ValueError, match=message):
        parse_value(name, Scalar(text, line=1))


def test_a_text_in_quotes_is_no_null():
    with pytest.raises(ValueError, match="got 'null'"):
        parse_value("ema", Scalar("null", line=1, plain=False))


def test_a_list_is_no_value():
    problems = Problems("f.yaml")
    assert read_value("ema", Listing((), line=4), problems) == []
    with pytest.raises(ValueError, match=r"f.yaml:4: ema: must be one value, got a list"):
        problems.raise_if_any()


def test_numbers_are_told_from_other_parameters():
    kinds = {f.name: number_type(f.name) for f in fields(TrainConfig)}
    assert {name for name, kind in kinds.items() if kind is int} == {
        *("clip_length", "clip_stride", "size", "folds", "inner_folds", "epochs", "patience"),
        *("batch_size", "accumulate", "seed", "loader_workers"),
    }
    assert {name for name, kind in kinds.items() if kind is float} == {
        *("width", "backbone_lr_factor", "learning_rate", "weight_decay", "warm_up"),
        *("gradient_clip", "label_smoothing", "ema", "dropout"),
    }


def test_reasons_are_given_for_parameters_that_exist():
    named = [*_OF_THE_SWEEP, *_THE_SAME_FOR_ALL, *_NOT_WORTH_A_SEARCH]
    assert len(named) == len(set(named)) and set(named) <= {f.name for f in fields(TrainConfig)}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (16, "16"), (1e-4, "0.0001"), ("c3d", "c3d")],
)
def test_values_are_written_so_that_they_are_read_back(value, text):
    assert written(value) == text
