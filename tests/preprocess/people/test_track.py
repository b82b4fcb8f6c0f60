from itertools import pairwise

import numpy as np
import pytest

from asd_experiments.data.store_layout import Presence
from preprocess.people.track import Detection, PersonNotFoundError, Track, follow

SETTINGS = {"frame_rate_hz": 25.0, "width": 640}


def num_seen(track: Track) -> int:
    return int((track.presence == Presence.SEEN).sum())


def body(x: float, height: float = 100.0) -> Detection:
    return Detection(np.array([x - 20, 100, x + 20, 100 + height], np.float32))


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


def test_long_gaps_cut_the_track_into_stretches() -> None:
    frames = [[body(100 + 3 * n)] if not 30 <= n < 60 else [] for n in range(120)]
    track = follow(frames, **SETTINGS)
    assert [(s.start, s.stop) for s in track.stretches] == [(0, 30), (30, 90)]
    assert track.frames[[0, 29, 30, 89]].tolist() == [0, 29, 60, 119]
    assert set(track.presence[30:60]) == {Presence.ABSENT}


def walk_across(first: int, step: float) -> dict[int, Detection]:
    """A body that comes in at one side of a picture of 640 px and goes out at the other."""
    there = {}
    for n, x in enumerate(np.arange(-20, 660, abs(step))):
        middle = x if step > 0 else 640 - x
        left, right = np.clip([middle - 20, middle + 20], 0, 640)
        if right - left > 4:
            there[first + n] = Detection(np.array([left, 100, right, 200], np.float32))
    return there


def test_who_leaves_and_comes_back_is_the_same_patient() -> None:
    passes = walk_across(10, 8) | walk_across(130, -8)
    frames = [[passes[n]] if n in passes else [] for n in range(230)]
    track = follow(frames, **SETTINGS)
    assert len(track.stretches) == 2
    assert track.num_people == 1
    seen = [n in passes for n in range(230)]
    assert (track.presence[seen] >= Presence.LEFT_OUT).all()
    left = max(n for n in passes if n < 120)
    assert track.presence[left + 1] == Presence.NEARBY
    assert track.presence[left + 20] == Presence.ABSENT


def test_who_appears_elsewhere_is_another_person() -> None:
    frames = [[body(100 + 4 * n)] if n < 60 else [] for n in range(80)]
    frames += [[body(600 - 4 * n)] for n in range(50)]
    track = follow(frames, **SETTINGS)
    assert track.frames[-1] == 59
    assert set(track.presence[80:]) == {Presence.ABSENT}


def test_frames_in_which_two_bodies_are_one_are_bridged_and_counted() -> None:
    frames = [[body(100 + 3 * n)] for n in range(80)]
    for n in range(40, 46):
        box = frames[n][0].box + np.array([-90, 0, 90, 0], np.float32)
        frames[n] = [Detection(box)]
    track = follow(frames, **SETTINGS)
    assert track.num_switches == 1
    assert set(track.presence[40:46]) == {Presence.BRIDGED}
    np.testing.assert_allclose(track.boxes[:, 0], 80 + 3 * np.arange(80), rtol=1e-5)


def test_a_shadow_that_joins_the_body_counts_like_another_body() -> None:
    """Boxes do not say what it is; a body that grows as it comes nearer does not count."""
    nearer = [[body(100 + 3 * n, height=60 + n)] for n in range(80)]
    assert follow(nearer, **SETTINGS).num_switches == 0
    frames = [[body(100 + 3 * n)] for n in range(80)]
    for n in [*range(30, 34), *range(60, 63)]:
        frames[n] = [Detection(frames[n][0].box + np.array([-40, 0, 40, 0], np.float32))]
    track = follow(frames, **SETTINGS)
    assert track.num_switches == 2
    assert (track.presence == Presence.BRIDGED).sum() == 7


def test_body_in_pieces_is_one_body() -> None:
    frames = [[body(100 + 3 * n)] for n in range(60)]
    for n in range(30, 40):
        x0, y0, x1, y1 = frames[n][0].box
        pieces = [(x0, y0, x1, y0 + 20), (x0, y0 + 60, x1, y1)]
        frames[n] = [Detection(np.array(piece, np.float32)) for piece in pieces]
    track = follow(frames, **SETTINGS)
    assert num_seen(track) == 60
    np.testing.assert_allclose(track.boxes[:, [1, 3]], np.tile([100, 200], (60, 1)))


def test_people_beside_the_patient_are_counted() -> None:
    frames = [[body(100 + 3 * n), body(500), body(580, height=30)] for n in range(80)]
    assert follow(frames, **SETTINGS).num_people == 2


def test_walker_is_preferred_to_a_larger_body_that_stays() -> None:
    frames = [[body(100 + 3 * n), body(500, height=150)] for n in range(80)]
    np.testing.assert_allclose(follow(frames, **SETTINGS).boxes[-1, 0], 80 + 3 * 79)


def test_two_walkers_who_cross_keep_their_ways() -> None:
    frames = [[body(100 + 4 * n), body(420 - 4 * n)] for n in range(80)]
    np.testing.assert_allclose(follow(frames, **SETTINGS).boxes[:, 0], 80 + 4 * np.arange(80))


def test_body_cut_by_the_border_is_left_out() -> None:
    frames = [
        [Detection(np.array([max(0, 3 * n - 60), 100, 3 * n, 200], np.float32))]
        for n in range(1, 100)
    ]
    track = follow(frames, **SETTINGS)
    assert track.boxes[0, 0] > 0
    assert len(track.boxes) == 79


def assert_consistent(track: Track) -> None:
    """Every stored frame once, in order, and known as stored."""
    assert (np.diff(track.frames) > 0).all()
    assert track.frames.tolist() == np.flatnonzero(track.presence >= Presence.BRIDGED).tolist()


def test_a_body_that_disappears_takes_nothing_from_one_that_walks_on() -> None:
    """The one that disappears has been followed for longer."""
    frames = [[body(500)] if n < 60 else [] for n in range(120)]
    for n in range(5, 120):
        frames[n] = [*frames[n], body(60 + 3 * n)]
    track = follow(frames, **SETTINGS)
    assert track.frames.tolist() == list(range(5, 120))
    assert set(track.presence[5:]) == {Presence.SEEN}
    assert track.num_people == 2


def test_paths_that_overlap_repeat_no_frame() -> None:
    """The patient is seen twice, side by side, for a while before one of the two goes on alone."""
    frames = [[body(60 + 4 * n)] if n < 60 else [] for n in range(120)]
    for n in range(52, 120):
        frames[n] = [*frames[n], body(120 + 4 * n)]
    track = follow(frames, **SETTINGS)
    assert_consistent(track)
    assert len(track.stretches) == 2, "no stretch may jump from one body to the other"
    for stretch in track.stretches:
        assert np.abs(np.diff(track.boxes[stretch], axis=0)).max() < 10


@pytest.mark.parametrize("seed", range(30))
def test_frames_ascend_whatever_is_seen(seed: int) -> None:
    """Walkers that come, go, change direction and are seen in pieces."""
    rng = np.random.default_rng(seed)
    walkers = [walk_across(int(rng.integers(0, 150)), s * 8) for s in rng.choice([-1, 1], 4)]
    frames: list[list[Detection]] = [[] for _ in range(260)]
    for walker in walkers:
        for n, seen in walker.items():
            waist = rng.choice([100, 100, 100, 130, 160])
            x0, y0, x1, y1 = seen.box
            for top, bottom in pairwise(sorted({y0, waist, y1})):
                box = np.array([x0, top + 3, x1, bottom - 3], np.float32)
                frames[n].append(seen._replace(box=box))
    assert_consistent(follow(frames, **SETTINGS))


def legs(x: float, top: float = 140.0) -> Detection:
    return body(x)._replace(box=np.array([x - 20, top, x + 20, 200], np.float32))


def test_a_body_of_which_only_the_legs_were_seen_at_first_is_one_body() -> None:
    """Legs are most of a body: the body that appears around them is more than a part of them."""
    frames = [[legs(100 + 3 * n)] if n < 20 else [body(100 + 3 * n)] for n in range(80)]
    track = follow(frames, **SETTINGS)
    assert set(track.presence[:20]) == {Presence.LEFT_OUT}
    assert set(track.presence[20:]) == {Presence.SEEN}
    assert track.num_people == 1


def test_somebody_seen_in_part_at_first_counts_from_the_first_frame() -> None:
    """At frame 14 only the feet are seen, at frame 20 the whole body; the other left before."""
    behind = [legs(500, top=150) if n < 20 else body(500) for n in range(60)]
    behind[14] = legs(500, top=185)
    frames = [[body(100 + 3 * n), behind[n]] for n in range(60)]
    for n in range(13):
        frames[n].append(body(600))
    assert follow(frames, **SETTINGS).num_people == 3


@pytest.mark.parametrize("frames", [[], [[]] * 50, [[body(100)]] * 11, [[body(9)], [body(500)]]])
def test_nobody_for_half_a_second_is_refused(frames: list[list[Detection]]) -> None:
    with pytest.raises(PersonNotFoundError, match="no person found in 12 frames"):
        follow(frames, **SETTINGS)
