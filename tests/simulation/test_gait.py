"""The gait: published angles, feet that stay where they are put, legs that keep their length."""

from dataclasses import replace

import numpy as np
import pytest

from asd_experiments.simulation.gait import (
    PHASES,
    GaitParameters,
    Part,
    published_angles,
    segment_lengths,
    walk_cycle,
)

HEALTHY = GaitParameters(
    height_m=1.7,
    trunk_lean_deg=2.0,
    kyphosis_deg=8.0,
    neck_lean_deg=16.0,
    knee_flexion_deg=0.0,
    cadence_steps_min=112.0,
    step_scale=1.0,
    arm_swing_deg=19.0,
    asymmetry=0.0,
    stance_share=0.62,
)
GAITS = {
    "healthy": HEALTHY,
    "crouched": replace(HEALTHY, knee_flexion_deg=28.0, trunk_lean_deg=25.0),
    "short_uneven": replace(HEALTHY, step_scale=0.5, asymmetry=0.3, stance_share=0.69),
    "long": replace(HEALTHY, step_scale=1.2, stance_share=0.59),
}


@pytest.fixture(params=list(GAITS))
def gait(request: pytest.FixtureRequest) -> GaitParameters:
    return GAITS[request.param]


def turned(angle: np.ndarray, x: float, y: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)


def foot_points(gait: GaitParameters, foot: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heel and ball in the world over two cycles, and the foot's pitch."""
    cycle, size = walk_cycle(gait), segment_lengths(gait.height_m)
    poses = [cycle.pose(step / PHASES) for step in range(2 * PHASES)]
    ankle = np.array([pose.joint[foot] for pose in poses])
    pitch = np.array([pose.angle[foot] for pose in poses])
    heel = ankle + turned(pitch, -size.heel, -size.ankle_height)
    ball = ankle + turned(pitch, size.ball, -size.ankle_height)
    return heel, ball, pitch


def test_published_angles_repeat_and_reach_the_textbook_extremes() -> None:
    phase = np.arange(100) / 100
    hip, knee, ankle = published_angles(phase).T
    np.testing.assert_allclose(published_angles(phase + 3), published_angles(phase), atol=1e-9)
    assert 58 <= knee.max() <= 65
    assert 0.68 <= phase[knee.argmax()] <= 0.76
    assert 38 <= hip.max() - hip.min() <= 48
    assert -20 <= ankle.min() <= -15
    assert 0.60 <= phase[ankle.argmin()] <= 0.68


@pytest.mark.parametrize("foot", [Part.NEAR_FOOT, Part.FAR_FOOT])
def test_the_stance_foot_does_not_slide(gait: GaitParameters, foot: Part) -> None:
    heel, ball, pitch = foot_points(gait, foot)
    flat = np.abs(pitch) < 1e-9
    assert flat.sum() > 2 * 0.2 * PHASES
    together = flat[1:] & flat[:-1]
    moved = np.linalg.norm(np.diff(ball, axis=0), axis=1)
    assert moved[together].max() < 1e-6
    on_floor = np.minimum(heel[:, 1], ball[:, 1]) < 0.001
    contact = np.where((pitch > 0)[:, None], heel, ball)
    same = on_floor[1:] & on_floor[:-1] & ((pitch > 0)[1:] == (pitch > 0)[:-1])
    steps = np.abs(np.diff(contact[:, 0]))[same]
    stance_path = steps.sum() / 2
    assert stance_path < 0.02
    assert same.sum() > 2 * 0.4 * PHASES


def test_one_foot_is_always_on_the_floor_and_none_below_it(gait: GaitParameters) -> None:
    size = segment_lengths(gait.height_m)
    lowest = []
    cycle = walk_cycle(gait)
    for foot, toes in ((Part.NEAR_FOOT, Part.NEAR_TOES), (Part.FAR_FOOT, Part.FAR_TOES)):
        heel, ball, _ = foot_points(gait, foot)
        tip = cycle.joints[:, toes] + turned(cycle.angles[:, toes], size.toes, 0.0)
        lowest.append(np.min([heel[:PHASES, 1], ball[:PHASES, 1], tip[:, 1]], axis=0))
    assert np.min(lowest) > -0.012
    assert np.min(lowest, axis=0).max() < 0.004


def test_legs_keep_their_length_and_knees_bend_forwards(gait: GaitParameters) -> None:
    cycle, size = walk_cycle(gait), segment_lengths(gait.height_m)
    for thigh in (Part.NEAR_THIGH, Part.FAR_THIGH):
        hip, knee, ankle = (cycle.joints[:, thigh + step] for step in range(3))
        np.testing.assert_allclose(np.linalg.norm(knee - hip, axis=1), size.thigh)
        np.testing.assert_allclose(np.linalg.norm(ankle - knee, axis=1), size.shank)
        flexion = np.degrees(cycle.angles[:, thigh] - cycle.angles[:, thigh + 1])
        assert flexion.min() > 0
        assert 45 < flexion.max() < 85
        assert 0.6 < (flexion.argmax() / PHASES - (thigh == Part.FAR_THIGH) * 0.5) % 1 < 0.85


def test_the_cycle_closes_smoothly(gait: GaitParameters) -> None:
    cycle = walk_cycle(gait)
    turn = np.abs(np.diff(cycle.angles, axis=0, append=cycle.angles[:1]))
    assert np.degrees(turn.max()) < 9
    one, two = cycle.pose(0.3), cycle.pose(1.3)
    np.testing.assert_allclose(two.joint - one.joint, [[cycle.stride_m, 0.0]] * len(Part))


def test_healthy_walking_stays_near_the_published_knee() -> None:
    cycle = walk_cycle(HEALTHY)
    flexion = np.degrees(cycle.angles[:, Part.NEAR_THIGH] - cycle.angles[:, Part.NEAR_SHANK])
    published = published_angles(np.arange(PHASES) / PHASES)[:, 1]
    assert np.sqrt(np.mean((flexion - published) ** 2)) < 8
    assert 1.2 < cycle.stride_m < 1.6
    assert 0.02 < np.ptp(cycle.joints[:, Part.NEAR_THIGH, 1]) < 0.06


def test_arms_swing_against_the_legs() -> None:
    cycle = walk_cycle(HEALTHY)
    for arm, leg in (
        (Part.NEAR_UPPER_ARM, Part.NEAR_THIGH),
        (Part.FAR_UPPER_ARM, Part.FAR_THIGH),
    ):
        assert np.corrcoef(cycle.angles[:, arm], cycle.angles[:, leg])[0, 1] < -0.7


def test_parameters_act_as_they_are_called() -> None:
    plain = walk_cycle(HEALTHY)
    assert walk_cycle(GAITS["short_uneven"]).stride_m < 0.7 * plain.stride_m
    stooped = walk_cycle(GAITS["crouched"])
    head = [c.joints[:, Part.HEAD] - c.joints[:, Part.ABDOMEN] for c in (plain, stooped)]
    assert head[1][:, 0].mean() > head[0][:, 0].mean() + 0.1
    assert stooped.joints[:, Part.HEAD, 1].mean() < plain.joints[:, Part.HEAD, 1].mean() - 0.05
    assert replace(HEALTHY, cadence_steps_min=60.0).period_s == 2.0
