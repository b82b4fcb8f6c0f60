"""Simulated patients: how far the disease shows in posture and in movement, and how it looks."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from asd_experiments.simulation.gait import GaitParameters

Label = Literal["ASD", "non_ASD"]
ASD: Label = "ASD"
NON_ASD: Label = "non_ASD"

SHIFT = 1.55
"""Standard deviations between the classes in each severity at effect 1.

With unit variances, one severity alone has an AUROC of Phi(SHIFT / sqrt 2) = 0.86 and both
together Phi(SHIFT) = 0.94, so neither posture nor movement decides alone.
"""


class Severity(NamedTuple):
    """Two independent latent severities; standard normal in patients without ASD."""

    posture: float
    movement: float


@dataclass(frozen=True)
class Walker:
    """One simulated patient."""

    label: Label
    """Class of the patient."""

    severity: Severity
    """What a perfect observer would see."""

    gait: GaitParameters
    """How this patient usually walks."""


def stratified_severities(rng: np.random.Generator, count: int) -> list[Severity]:
    """Draw standard severities so that even a small class covers its distribution evenly.

    One draw falls in each of `count` equally likely bins, in shuffled order; of some orders the
    one that leaves posture and movement least correlated is kept.

    Args:
        rng: Source of randomness.
        count: Patients in the class, at least 1.
    """
    posture, movement = (_jittered_quantiles(rng, count) for _ in range(2))
    posture = rng.permutation(posture)
    orders = [rng.permutation(movement) for _ in range(16)]
    movement = min(orders, key=lambda order: abs(float(np.dot(order, posture))))
    return [Severity(float(p), float(m)) for p, m in zip(posture, movement, strict=True)]


def draw_patient(
    rng: np.random.Generator, label: Label, effect: float, standard: Severity | None = None
) -> Walker:
    """Draw one patient; the class acts through the two severities alone.

    Args:
        rng: Source of randomness.
        label: Class of the patient.
        effect: Multiplier of the shift between the classes; 0 makes them equal.
        standard: Severities before the class shift, e.g. from `stratified_severities`; drawn
            from a standard normal distribution when not given.
    """
    drawn = standard if standard is not None else Severity(*rng.standard_normal(2).tolist())
    shift = SHIFT * effect if label == ASD else 0.0
    severity = Severity(drawn.posture + shift, drawn.movement + shift)
    return Walker(label, severity, draw_gait(rng, severity))


def draw_gait(rng: np.random.Generator, severity: Severity) -> GaitParameters:
    """Express severities as posture and movement, each cue with its own scatter.

    Sagittal imbalance shows as forward trunk, round back, forward head and bent knees; a laboured
    gait as slow, short, uneven steps with long stance and stiff arms. Sizes are plausible, not
    fitted to patients.
    """
    posture, movement = severity

    def cue(mean: float, shift: float, scatter: float, low: float, high: float) -> float:
        return float(np.clip(mean + shift + scatter * rng.standard_normal(), low, high))

    return GaitParameters(
        height_m=cue(1.66, 0.0, 0.08, 1.45, 1.88),
        trunk_lean_deg=cue(1.0, 4.5 * posture, 1.2, -8.0, 38.0),
        kyphosis_deg=cue(8.0, 4.0 * posture, 2.0, -4.0, 35.0),
        neck_lean_deg=cue(16.0, 3.0 * posture, 3.0, 4.0, 38.0),
        knee_flexion_deg=cue(3.0, 4.5 * posture, 1.5, 0.0, 30.0),
        cadence_steps_min=cue(112.0, -5.0 * movement, 4.0, 70.0, 140.0),
        step_scale=cue(0.97, -0.09 * movement, 0.03, 0.4, 1.2),
        arm_swing_deg=cue(19.0, -5.0 * movement, 1.5, 1.0, 38.0),
        asymmetry=cue(0.06, 0.05 * movement, 0.02, 0.0, 0.35),
        stance_share=cue(0.62, 0.012 * movement, 0.005, 0.58, 0.70),
    )


def vary_walk(rng: np.random.Generator, gait: GaitParameters) -> GaitParameters:
    """Return the gait of one walk: a patient never walks twice alike."""
    return replace(
        gait,
        trunk_lean_deg=gait.trunk_lean_deg + float(rng.normal(0, 0.6)),
        cadence_steps_min=gait.cadence_steps_min * float(rng.normal(1, 0.015)),
        step_scale=gait.step_scale * float(rng.normal(1, 0.015)),
        arm_swing_deg=gait.arm_swing_deg * float(rng.normal(1, 0.05)),
    )


def _jittered_quantiles(rng: np.random.Generator, count: int) -> Float[np.ndarray, " patient"]:
    return np.asarray(ndtri((np.arange(count) + rng.uniform(size=count)) / count))
