import pytest

from asd_experiments.evaluation.interval import Interval, check_level


def test_an_interval_has_two_ends():
    assert Interval(0.1, 0.9)._asdict() == {"low": 0.1, "high": 0.9}


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, float("nan")])
def test_a_level_is_between_0_and_1(level):
    check_level(0.95)
    with pytest.raises(ValueError, match=f"level must be between 0 and 1, got {level}"):
        check_level(level)
