import numpy as np
import pytest

from preprocess.timing import Timing, frame_rate_hz, timing_of


def used(seconds: list[float | None], **options: float | None) -> list[int]:
    """Numbers of the frames that are used of a file with these time stamps."""
    timing = timing_of(seconds, header_rate_hz=25.0, fps=options.get("fps"))
    assert timing is not None
    ordered = sorted(seconds) if None not in seconds else seconds
    return list(timing.used(range(len(seconds)), lambda number: ordered[number]))


def is_resampled(steps: np.ndarray) -> bool:
    seconds = np.concatenate([[0], np.cumsum(steps)])
    timing = timing_of(seconds.tolist(), header_rate_hz=None, fps=None)
    assert timing is not None
    return timing.resampled


def test_frame_rate_survives_rounding_and_dropped_frames() -> None:
    exact = np.arange(100) / 29.97
    assert frame_rate_hz(exact.round(3).tolist()) == pytest.approx(29.97, abs=0.02)
    assert frame_rate_hz(np.delete(np.arange(100) / 25, [7, 8, 50]).tolist()) == pytest.approx(25)
    assert frame_rate_hz([0.0]) is None


@pytest.mark.parametrize("steps", [[0.04, 1.0], [0.04] * 5 + [1.0] * 5])
def test_there_is_a_frame_rate_where_no_step_is_near_the_mean_of_the_middle_two(
    steps: list[float],
) -> None:
    seconds = np.cumsum([0.0, *steps])
    assert frame_rate_hz(seconds) == pytest.approx(25)
    timing = timing_of(seconds.tolist(), header_rate_hz=None, fps=None)
    assert timing is not None and timing.source_rate_hz == pytest.approx(25)


@pytest.mark.parametrize("fps", [1.0, 12.5, 24.0, 29.97, 60.0, 240.0])
def test_used_frame_is_the_nearest_in_time(fps: float) -> None:
    seconds = 7.3 + np.cumsum(np.random.default_rng(3).uniform(0.01, 0.09, 60))
    found = used(seconds.tolist(), fps=fps)
    wanted = seconds[0] + np.arange(len(found)) / fps
    nearest = np.abs(seconds[None] - wanted[:, None]).argmin(axis=1)
    np.testing.assert_array_equal(found, nearest)
    rest = seconds[-1] - seconds[0] - (len(found) - 1) / fps
    assert -0.05 < rest < 1 / fps


def test_whole_factors_repeat_and_drop_evenly() -> None:
    seconds = (np.arange(10) / 25).tolist()
    assert used(seconds, fps=25.0) == list(range(10))
    assert used(seconds, fps=50.0) == np.repeat(np.arange(10), 2).tolist()
    assert used(seconds, fps=12.5) == [0, 2, 4, 6, 8]


def test_nearly_constant_rate_is_left_alone() -> None:
    """Of 40 steps, two may be off by more than a fifth (5 %), three may not."""
    steps = np.full(40, 0.04)
    steps[[10, 20]] = 0.08
    steps[[5, 15, 25]] = 0.047
    assert not is_resampled(steps)
    steps[30] = 0.049
    assert is_resampled(steps)


@pytest.mark.parametrize("rate_hz", [23.976, 25, 29.97, 59.94, 120])
def test_rounded_time_stamps_are_constant(rate_hz: float) -> None:
    seconds = (np.arange(200) / rate_hz).round(3).tolist()
    timing = timing_of(seconds, header_rate_hz=None, fps=None)
    assert timing is not None and not timing.resampled
    assert timing.frame_rate_hz == pytest.approx(rate_hz, rel=2e-3)


def test_variable_rate_is_resampled_to_the_usual_one() -> None:
    seconds = np.cumsum([0, *[0.04, 0.04, 0.08] * 5]).round(3).tolist()
    timing = timing_of(seconds, header_rate_hz=99.0, fps=None)
    assert timing is not None and timing.resampled
    assert timing.frame_rate_hz == pytest.approx(25)
    assert used(seconds)[:9] == [0, 1, 2, 2, 3, 4, 5, 5, 6]


RESTARTED = [*(np.arange(30) / 25).tolist(), *(np.arange(30) / 25 + 0.01).tolist()]


@pytest.mark.parametrize(
    "stamps",
    [[None] * 20, [0.0, None] * 10, [0.0] * 20, RESTARTED],
    ids=["none", "half", "equal", "restarted"],
)
def test_broken_time_stamps_give_way_to_the_header(stamps: list[float | None]) -> None:
    timing = timing_of(stamps, header_rate_hz=25.0, fps=None)
    assert timing == Timing(25.0, 25.0, stamped=False, resampled=False)
    doubled = timing_of(stamps, header_rate_hz=25.0, fps=50.0)
    assert doubled is not None
    numbers = list(doubled.used(range(len(stamps)), lambda number: stamps[number]))
    assert numbers == np.repeat(np.arange(len(stamps)), 2).tolist()
    assert timing_of(stamps, header_rate_hz=None, fps=None) is None


def test_order_of_b_frames_is_no_restart() -> None:
    stamps = (np.array([0, 4, 2, 1, 3, 8, 6, 5, 7, 9]) / 25).tolist()
    timing = timing_of(stamps, header_rate_hz=None, fps=None)
    assert timing is not None and timing.stamped and not timing.resampled
    assert timing.frame_rate_hz == pytest.approx(25)


def test_single_bad_stamp_is_bridged() -> None:
    seconds: list[float | None] = (np.arange(30) / 25).tolist()
    seconds[10] = None
    assert used(seconds, fps=25.0) == list(range(30))
