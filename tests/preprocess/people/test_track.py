import numpy as np
import pytest

from asd_experiments.data.store import Presence
from preprocess.people.track import Detection, PersonNotFoundError, Track, follow

SETTINGS = {"frame_rate_hz": 25.0, "width": 640}


def num_seen(track: Track) -> int:
    return int((track.presence == Presence.SEEN).sum())


def body(x: float, score: float = 0.05, height: float = 100.0) -> Detection:
    return Detection(np.array([x - 20, 100, x + 20, 100 + height], np.float32), score)


def test_walk_is_followed_from_its_first_to_its_last_frame() -> None:
    frames = [[]] * 7 + [[body(100 + 3 * n)] for n in range(60)] + [[]] * 40
    track = follow(frames, **SETTINGS)
    assert (track.frames[0], len(track.boxes), num_seen(track)) == (7, 60, 60)
    np.testing.assert_allclose(track.boxes[:, 0], 80 + 3 * np.arange(60))


def test_short_gaps_are_bridged_on_a_straight_line() -> None:
    frames = [[body(100 + 3 * n)] if n not in range(20, 30) else [] for n in range(60)]
    track = follow(frames, **SETTINGS)
    assert (len(track.boxes), num_seen(track)) == (60, 50)
    np.testing.assert_allclose(track.boxes[:, 0], 80 + 3 * np.arange(60), rtol=1e-5)


def test_longest_stretch_is_kept_across_long_gaps() -> None:
    frames = [[body(100 + 3 * n)] if not 30 <= n < 60 else [] for n in range(120)]
    track = follow(frames, **SETTINGS)
    assert (track.frames[0], len(track.boxes)) == (60, 60)


def test_walker_is_preferred_to_a_larger_body_that_stays() -> None:
    frames = [[body(100 + 3 * n), body(500, score=0.1, height=150)] for n in range(80)]
    np.testing.assert_allclose(follow(frames, **SETTINGS).boxes[-1, 0], 80 + 3 * 79)


def test_two_walkers_who_cross_keep_their_ways() -> None:
    frames = [[body(100 + 4 * n), body(420 - 4 * n, score=0.03)] for n in range(80)]
    np.testing.assert_allclose(follow(frames, **SETTINGS).boxes[:, 0], 80 + 4 * np.arange(80))


def test_body_cut_by_the_border_is_left_out() -> None:
    frames = [
        [Detection(np.array([max(0, 3 * n - 60), 100, 3 * n, 200], np.float32), 0.05)]
        for n in range(1, 100)
    ]
    track = follow(frames, **SETTINGS)
    assert track.boxes[0, 0] > 0
    assert len(track.boxes) == 79


@pytest.mark.parametrize("frames", [[], [[]] * 50, [[body(100)]] * 11, [[body(9)], [body(500)]]])
def test_nobody_for_half_a_second_is_refused(frames: list[list[Detection]]) -> None:
    with pytest.raises(PersonNotFoundError, match="no person found in 12 frames"):
        follow(frames, **SETTINGS)
