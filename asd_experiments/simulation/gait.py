"""One gait cycle of one walker: published joint angles, a body, and feet that do not slide.

Coordinates are metres in the walker's own side view: x forward, y up from the floor. Angles are
counter-clockwise with the walker facing +x, so a thigh swings forward with a positive angle and a
trunk leans forward with a negative one. Phase counts gait cycles of the near leg from its heel
strike; the far leg follows about half a cycle later.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.interpolate import CubicSpline

PHASES = 240
PUBLISHED_TOE_OFF = 0.62
_REACH = 0.998  # a leg is never quite straight, or the knee would snap
_TOE_BEND = 0.7  # radians that a shoe bends at the ball before it rolls on over its tip

# percent of the cycle, hip flexion, knee flexion, ankle dorsiflexion (degrees)
_PUBLISHED_ANGLES = np.array(
    [
        [0, 22.0, 4.0, 0.0],
        [7, 20.5, 12.0, -5.0],
        [14, 15.5, 18.0, -1.5],
        [20, 9.5, 16.5, 3.0],
        [30, -1.0, 10.0, 6.5],
        [40, -11.5, 6.0, 9.5],
        [50, -18.5, 11.0, 8.0],
        [56, -17.0, 23.0, -3.0],
        [62, -9.0, 41.0, -17.0],
        [67, 0.0, 54.0, -17.0],
        [72, 9.0, 61.0, -10.0],
        [80, 20.0, 54.0, -1.0],
        [87, 24.5, 31.0, 1.5],
        [94, 24.5, 8.0, 1.0],
        [98, 22.8, 2.5, 0.5],
        [100, 22.0, 4.0, 0.0],
    ]
)


class Part(IntEnum):
    """The rigid parts of the figure; near is the camera's side."""

    HEAD = 0
    NECK = 1
    THORAX = 2
    ABDOMEN = 3
    NEAR_UPPER_ARM = 4
    NEAR_FOREARM = 5
    NEAR_THIGH = 6
    NEAR_SHANK = 7
    NEAR_FOOT = 8
    NEAR_TOES = 9
    FAR_UPPER_ARM = 10
    FAR_FOREARM = 11
    FAR_THIGH = 12
    FAR_SHANK = 13
    FAR_FOOT = 14
    FAR_TOES = 15


@dataclass(frozen=True)
class GaitParameters:
    """What decides how a walker holds and moves the body."""

    height_m: float
    """Standing height, metres."""

    trunk_lean_deg: float
    """Forward lean of the lower trunk."""

    kyphosis_deg: float
    """Further forward lean of the upper trunk on the lower trunk."""

    neck_lean_deg: float
    """Forward lean of the neck beyond half of the upper trunk's."""

    knee_flexion_deg: float
    """Knee flexion added throughout (crouch)."""

    cadence_steps_min: float
    """Steps per minute, both feet counted."""

    step_scale: float
    """Hip excursion as a multiple of the published one; step length follows."""

    arm_swing_deg: float
    """Shoulder excursion to each side of its middle."""

    asymmetry: float
    """Difference between the legs' (and arms') excursions, as a share of their mean."""

    stance_share: float
    """Share of the cycle that a foot is on the floor."""

    @property
    def period_s(self) -> float:
        """Seconds per gait cycle (two steps)."""
        return 120.0 / self.cadence_steps_min


class Segments(NamedTuple):
    """Lengths in metres; feet are measured from the ankle's foot of the perpendicular."""

    thigh: float
    shank: float
    ankle_height: float
    heel: float
    ball: float
    toes: float
    abdomen: float
    thorax: float
    shoulder: float
    neck: float
    upper_arm: float
    forearm: float


class Pose(NamedTuple):
    """Where every part is: its joint (x, y) in metres and its angle in radians."""

    joint: Float[np.ndarray, "part 2"]
    angle: Float[np.ndarray, " part"]


@dataclass(frozen=True)
class GaitCycle:
    """One cycle that repeats, moved on by one stride each time."""

    stride_m: float
    """Distance per cycle, metres."""

    period_s: float
    """Seconds per cycle."""

    joints: Float[np.ndarray, "phase part 2"]
    """Proximal joint of each part, metres; x leaves out the steady advance of `stride_m`."""

    angles: Float[np.ndarray, "phase part"]
    """Angle of each part, radians."""

    def pose(self, phase: float) -> Pose:
        """Interpolate the pose at a phase; whole cycles carry the body forward.

        Args:
            phase: Cycles since the near heel strike at x = 0, any real number.
        """
        at = phase * len(self.angles)
        before = int(np.floor(at))
        share = at - before
        one, two = before % len(self.angles), (before + 1) % len(self.angles)
        joint = (1 - share) * self.joints[one] + share * self.joints[two]
        joint[:, 0] += self.stride_m * phase
        return Pose(joint, (1 - share) * self.angles[one] + share * self.angles[two])


def published_angles(
    phase: Float[np.ndarray, " phase"],
) -> Float[np.ndarray, "phase 3"]:
    """Return hip flexion, knee flexion and ankle dorsiflexion of healthy walking.

    The table holds key points that were read off the published natural-cadence curves by eye and
    rounded (about 2 degrees), not the published numbers; a periodic cubic joins them.

    Args:
        phase: Cycles since heel strike.

    Returns:
        Degrees; the hip angle is the thigh's to the vertical.

    References:
        Winter 2009, Biomechanics and Motor Control of Human Movement, 4th ed., appendix A.
        Perry and Burnfield 2010, Gait Analysis, 2nd ed., chapters 3 to 5.
    """
    table = _PUBLISHED_ANGLES
    curves = CubicSpline(table[:, 0] / 100, table[:, 1:], bc_type="periodic")
    return np.asarray(curves(np.mod(phase, 1.0)), dtype=np.float64)


def segment_lengths(height_m: float) -> Segments:
    """Return segment lengths for a standing height.

    References:
        Winter 2009, figure 4.1 (after Drillis and Contini 1966). The split of trunk and foot is
        ours: the figure gives hip to shoulder and heel to toe only.
    """
    share = Segments(
        thigh=0.245,
        shank=0.246,
        ankle_height=0.039,
        heel=0.037,
        ball=0.075,
        toes=0.043,
        abdomen=0.115,
        thorax=0.190,
        shoulder=0.165,
        neck=0.050,
        upper_arm=0.180,
        forearm=0.150,
    )
    return Segments(*(height_m * value for value in share))


def walk_cycle(gait: GaitParameters) -> GaitCycle:
    """Compute the poses of one gait cycle.

    The published angles say how the hip moves over the foot that carries it; that motion, handed
    from foot to foot in double support, is the body's advance and bob. Each foot is then nailed to
    the floor while it rolls over heel, sole and ball, and the leg is bent to reach it, so knees
    leave the published curve by a few degrees but no foot slides.
    """
    lengths = segment_lengths(gait.height_m)
    lag = 0.5 + 0.12 * gait.asymmetry
    shifts = (0, round(lag * PHASES))
    legs = [_leg(gait, lengths, sign * gait.asymmetry / 2) for sign in (1, -1)]
    hip, stride_m = _hip_path(legs, shifts, gait.stance_share)
    ankles = [
        _clear_floor(leg, _plant(leg, hip, stride_m, shift), shift, lengths)
        for leg, shift in zip(legs, shifts, strict=True)
    ]
    hip[:, 1] = _reachable_height(hip, ankles, lengths)
    joints = np.zeros((PHASES, len(Part), 2))
    angles = np.zeros((PHASES, len(Part)))
    for first, leg, ankle, shift in zip(
        (Part.NEAR_THIGH, Part.FAR_THIGH), legs, ankles, shifts, strict=True
    ):
        pitch, bend = np.roll(leg.pitch, shift), np.roll(leg.toe_bend, shift)
        _pose_leg(joints, angles, first, hip, ankle, lengths)
        _pose_foot(joints, angles, first, pitch, bend, lengths)
    _pose_trunk(joints, angles, hip, gait, lengths)
    for first, shift, sign in zip(
        (Part.NEAR_UPPER_ARM, Part.FAR_UPPER_ARM), shifts, (1, -1), strict=True
    ):
        swing = gait.arm_swing_deg * (1 + sign * gait.asymmetry)
        _pose_arm(joints, angles, first, swing, shift, lengths)
    return GaitCycle(stride_m, gait.period_s, joints, angles)


class _Leg(NamedTuple):
    """One leg over its own cycle, from its own heel strike."""

    ankle: Float[np.ndarray, "phase 2"]  # from the hip, by the published angles
    rolled: Float[np.ndarray, "phase 2"]  # from the planted sole's origin, while on the floor
    pitch: Float[np.ndarray, " phase"]  # of the foot, radians, toes up positive
    toe_bend: Float[np.ndarray, " phase"]  # of the toes on the foot, radians
    stance: Bool[np.ndarray, " phase"]


def _own_phase() -> Float[np.ndarray, " phase"]:
    return np.arange(PHASES) / PHASES


def _leg(gait: GaitParameters, lengths: Segments, uneven: float) -> _Leg:
    """Turn joint angles into the leg's motion, crouched and scaled as the walker's."""
    phase = _own_phase()
    stance = phase < gait.stance_share
    table_phase = np.interp(phase, [0, gait.stance_share, 1], [0, PUBLISHED_TOE_OFF, 1])
    hip, knee, ankle = published_angles(table_phase).T
    scale = gait.step_scale * (1 + uneven)
    crouch = gait.knee_flexion_deg
    thigh = np.radians(hip.mean() + scale * (hip - hip.mean()) + crouch / 2)
    knee = np.radians((0.4 + 0.6 * scale) * knee * (1 - crouch / 90) + crouch)
    shank = thigh - knee
    flat = np.interp(table_phase, [0, 0.06, 0.10, 0.36, 0.47, 1], [0, 0, 1, 1, 0, 0])
    pitch = (1 - flat) * (shank + np.radians((0.5 + 0.5 * scale) * ankle + crouch / 2))
    bend = np.interp(phase - gait.stance_share, [-1, 0, 0.12, 1], [1, 1, 0, 0])
    bend = bend * np.clip(-pitch, 0, _TOE_BEND)
    reach = _along(thigh, lengths.thigh) + _along(shank, lengths.shank)
    return _Leg(reach, _rolled_ankle(pitch, lengths), pitch, bend, stance)


def _along(angle: Float[np.ndarray, " phase"], length: float) -> Float[np.ndarray, "phase 2"]:
    """End of a segment that hangs from the origin at an angle."""
    return length * np.stack([np.sin(angle), -np.cos(angle)], axis=-1)


def _turn(angle: Float[np.ndarray, " phase"], x: float, y: float) -> Float[np.ndarray, "phase 2"]:
    """Turn one point about the origin by each angle."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)


def _rolled_ankle(
    pitch: Float[np.ndarray, " phase"], lengths: Segments
) -> Float[np.ndarray, "phase 2"]:
    """Ankle of a foot that rolls over its heel (toes up), then its ball and at last its tip."""
    on_heel = _turn(pitch, lengths.heel, lengths.ankle_height) - [lengths.heel, 0]
    tipped = np.minimum(pitch + _TOE_BEND, 0)
    ball = _turn(tipped, -lengths.toes, 0.0) + np.array([lengths.ball + lengths.toes, 0])
    on_ball = ball + _turn(pitch, -lengths.ball, lengths.ankle_height)
    return np.where(pitch[:, None] > 0, on_heel, on_ball)


def _hip_path(
    legs: list[_Leg], shifts: tuple[int, int], stance_share: float
) -> tuple[Float[np.ndarray, "phase 2"], float]:
    """Follow the hip over the stance feet; x is what remains beside the steady advance.

    Only the first harmonics are kept: the table's read-off errors would shake the body.
    """
    double = stance_share - 0.5
    ramp = [0, double, stance_share - double, stance_share, 1]
    load = np.interp(_own_phase(), ramp, [0, 1, 1, 0, 0])
    loads = np.stack([np.roll(load, shift) for shift in shifts])
    loads /= loads.sum(axis=0)
    over = [
        np.roll(leg.rolled - leg.ankle, shift, axis=0)
        for leg, shift in zip(legs, shifts, strict=True)
    ]
    speed = [(np.roll(path[:, 0], -1) - np.roll(path[:, 0], 1)) / 2 for path in over]
    advance = _smooth(loads[0] * speed[0] + loads[1] * speed[1])
    height = _smooth(loads[0] * over[0][:, 1] + loads[1] * over[1][:, 1])
    stride_m = float(advance.sum())
    sway = np.cumsum(advance) - advance - stride_m * _own_phase()
    return np.stack([sway, height], axis=-1), stride_m


def _smooth(
    periodic: Float[np.ndarray, " phase"], harmonics: int = 4
) -> Float[np.ndarray, " phase"]:
    spectrum = np.fft.rfft(periodic)
    spectrum[harmonics + 1 :] = 0
    return np.fft.irfft(spectrum, len(periodic))


def _plant(
    leg: _Leg, hip: Float[np.ndarray, "phase 2"], stride_m: float, shift: int
) -> Float[np.ndarray, "phase 2"]:
    """Place the ankle so that the stance foot stays where it was put down.

    In stance the ankle follows the rolling foot; in swing it follows the published angles plus an
    offset that fades from the value at toe-off to the value at the next heel strike.
    """
    own_hip = np.roll(hip, -shift, axis=0)
    advance = stride_m * _own_phase()
    planted = leg.rolled - own_hip
    planted[:, 0] -= advance
    planted[:, 0] += (leg.ankle - planted)[leg.stance, 0].mean()
    offset = planted - leg.ankle
    count = int(leg.stance.sum())
    share = np.arange(1, PHASES - count + 1)[:, None] / (PHASES - count + 1)
    fade = share**2 * (3 - 2 * share)
    offset[count:] = (1 - fade) * offset[count - 1] + fade * offset[0]
    return np.roll(leg.ankle + offset + own_hip, shift, axis=0)


def _clear_floor(
    leg: _Leg, ankle: Float[np.ndarray, "phase 2"], shift: int, lengths: Segments
) -> Float[np.ndarray, "phase 2"]:
    """Lift a swinging foot that would graze the floor, by up to 12 mm of clearance."""
    low = -lengths.ankle_height
    heel = _turn(leg.pitch, -lengths.heel, low)[:, 1]
    ball = _turn(leg.pitch, lengths.ball, low)[:, 1]
    tip = ball + _turn(leg.pitch + leg.toe_bend, lengths.toes, 0.0)[:, 1]
    lowest = np.min([heel, ball, tip], axis=0)
    swing = np.cumsum(~leg.stance) / (~leg.stance).sum()
    needed = np.where(leg.stance, -np.inf, 0.012 * np.sin(np.pi * swing) - lowest)
    lifted = np.maximum(ankle[:, 1], np.roll(needed, shift))
    return np.stack([ankle[:, 0], lifted], axis=-1)


def _reachable_height(
    hip: Float[np.ndarray, "phase 2"],
    ankles: list[Float[np.ndarray, "phase 2"]],
    lengths: Segments,
) -> Float[np.ndarray, " phase"]:
    """Lower the hip, smoothly over the cycle, until both legs reach their feet all the time."""
    reach = _REACH * (lengths.thigh + lengths.shank)
    across = [np.minimum(np.abs(hip[:, 0] - ankle[:, 0]), reach) for ankle in ankles]
    ceilings = [a[:, 1] + np.sqrt(reach**2 - x**2) for a, x in zip(ankles, across, strict=True)]
    height = hip[:, 1].copy()
    for _ in range(10):
        missing = np.maximum(height - np.min(ceilings, axis=0), 0)
        height -= _smooth(missing)
    return height - max(0.0, float((height - np.min(ceilings, axis=0)).max()))


def _pose_leg(
    joints: Float[np.ndarray, "phase part 2"],
    angles: Float[np.ndarray, "phase part"],
    thigh: int,
    hip: Float[np.ndarray, "phase 2"],
    ankle: Float[np.ndarray, "phase 2"],
    lengths: Segments,
) -> None:
    """Bend hip and knee so that the leg, two bars with the knee in front, ends at the ankle."""
    gap = ankle - hip
    upper, lower = lengths.thigh, lengths.shank
    span = np.minimum(np.hypot(gap[:, 0], gap[:, 1]), _REACH * (upper + lower))
    towards = np.arctan2(gap[:, 0], -gap[:, 1])
    at_hip = np.arccos((upper**2 + span**2 - lower**2) / (2 * upper * span))
    at_ankle = np.arccos((lower**2 + span**2 - upper**2) / (2 * lower * span))
    angles[:, thigh] = towards + at_hip
    angles[:, thigh + 1] = towards - at_ankle
    joints[:, thigh] = hip
    joints[:, thigh + 1] = hip + _along(angles[:, thigh], upper)
    joints[:, thigh + 2] = joints[:, thigh + 1] + _along(angles[:, thigh + 1], lower)


def _pose_foot(
    joints: Float[np.ndarray, "phase part 2"],
    angles: Float[np.ndarray, "phase part"],
    thigh: int,
    pitch: Float[np.ndarray, " phase"],
    bend: Float[np.ndarray, " phase"],
    lengths: Segments,
) -> None:
    """Hang foot and toes from the ankle; the toes turn about the ball."""
    foot, toes = thigh + 2, thigh + 3
    angles[:, foot] = pitch
    angles[:, toes] = pitch + bend
    joints[:, toes] = joints[:, foot] + _turn(pitch, lengths.ball, -lengths.ankle_height)


def _pose_trunk(
    joints: Float[np.ndarray, "phase part 2"],
    angles: Float[np.ndarray, "phase part"],
    hip: Float[np.ndarray, "phase 2"],
    gait: GaitParameters,
    lengths: Segments,
) -> None:
    """Stack trunk, neck and head on the hip; the trunk nods a little with every step.

    The head turns back up by most of the neck's lean, as people look where they go.
    """
    nod = 1.2 * np.cos(4 * np.pi * _own_phase())
    lower = gait.trunk_lean_deg + nod
    upper = lower + gait.kyphosis_deg
    neck = 0.5 * upper + gait.neck_lean_deg
    head = 0.35 * (neck - 20)
    chain = (Part.ABDOMEN, Part.THORAX, Part.NECK, Part.HEAD)
    above = (lengths.abdomen, lengths.thorax, lengths.neck, 0.0)
    joint = hip
    for part, lean, length in zip(chain, (lower, upper, neck, head), above, strict=True):
        angles[:, part] = -np.radians(lean)
        joints[:, part] = joint
        joint = joint - _along(angles[:, part], length)


def _pose_arm(
    joints: Float[np.ndarray, "phase part 2"],
    angles: Float[np.ndarray, "phase part"],
    upper_arm: int,
    swing_deg: float,
    shift: int,
    lengths: Segments,
) -> None:
    """Swing an arm against the leg of its side; the elbow bends more in front.

    References:
        Murray, Sepic and Barnard 1967, Patterns of sagittal rotation of the upper limbs in
        walking, Physical Therapy 47:272-284 (timing and size approximated by one sine).
    """
    forward = -np.cos(2 * np.pi * (_own_phase() - shift / PHASES - 0.02))
    shoulder = -4 + swing_deg * forward
    elbow = 12 + swing_deg * 0.4 * (1 + forward)
    thorax = angles[:, Part.THORAX]
    joints[:, upper_arm] = joints[:, Part.THORAX] - _along(thorax, lengths.shoulder)
    angles[:, upper_arm] = np.radians(shoulder)
    angles[:, upper_arm + 1] = np.radians(shoulder + elbow)
    elbows = _along(angles[:, upper_arm], lengths.upper_arm)
    joints[:, upper_arm + 1] = joints[:, upper_arm] + elbows
