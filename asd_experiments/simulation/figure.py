"""The walker's body and clothes as flat outlines, one set per rigid part.

Outlines are in metres in the part's own frame: the joint is the origin, and the figure stands
upright facing +x with the part's angle at zero (limbs hang down, the trunk rises).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from asd_experiments.simulation.gait import Part, Segments, segment_lengths

Colour = tuple[float, float, float]  # RGB, 0 to 255

SKINS: tuple[Colour, ...] = (
    (232.0, 196.0, 170.0),
    (214.0, 168.0, 136.0),
    (176.0, 128.0, 96.0),
    (124.0, 84.0, 60.0),
)
HAIRS: tuple[Colour, ...] = (
    (200.0, 200.0, 198.0),
    (150.0, 146.0, 142.0),
    (92.0, 74.0, 58.0),
    (44.0, 36.0, 32.0),
)
SHOES: tuple[Colour, ...] = (
    (50.0, 48.0, 50.0),
    (86.0, 62.0, 44.0),
    (196.0, 196.0, 200.0),
    (44.0, 62.0, 96.0),
)
_FAR_SHADE = 0.66


@dataclass(frozen=True)
class Look:
    """Body shape and clothes of one walker."""

    girth: float
    """Thickness of body and limbs as a multiple of the usual."""

    belly: float
    """Extra depth of the lower trunk in front, as a multiple of the usual depth."""

    skin: Colour
    """Colour of face and hands."""

    hair: Colour
    """Colour of the hair."""

    top: Colour
    """Colour of shirt or jumper."""

    trousers: Colour
    """Colour of the trousers."""

    shoes: Colour
    """Colour of the shoes."""

    long_sleeves: bool
    """Whether the forearms are covered."""

    long_hair: bool
    """Whether the hair covers the nape."""


class Piece(NamedTuple):
    """One filled outline fixed to a part."""

    part: Part
    outline: Float[np.ndarray, "point 2"]
    colour: Colour


def draw_look(rng: np.random.Generator) -> Look:
    """Draw a body shape and clothes at random; independent of the class."""

    def pick(colours: tuple[Colour, ...]) -> Colour:
        chosen = np.array(colours[int(rng.integers(len(colours)))])
        return _as_colour(chosen * rng.uniform(0.92, 1.06))

    return Look(
        girth=float(rng.uniform(0.88, 1.18)),
        belly=float(rng.uniform(0.0, 0.35)),
        skin=pick(SKINS),
        hair=pick(HAIRS),
        top=_draw_cloth(rng, 60.0, 225.0),
        trousers=_draw_cloth(rng, 35.0, 130.0),
        shoes=pick(SHOES),
        long_sleeves=bool(rng.uniform() < 0.5),
        long_hair=bool(rng.uniform() < 0.4),
    )


def build_figure(look: Look, height_m: float) -> list[Piece]:
    """Build all outlines of a walker, far ones first (the order in which they are drawn)."""
    lengths = segment_lengths(height_m)
    thick = look.girth * height_m
    far_arm = _arm(look, lengths, thick, Part.FAR_UPPER_ARM)
    far_leg = _leg(look, lengths, thick, Part.FAR_THIGH)
    near_leg = _leg(look, lengths, thick, Part.NEAR_THIGH)
    near_arm = _arm(look, lengths, thick, Part.NEAR_UPPER_ARM)
    darker = [
        Piece(p.part, p.outline, _as_colour(np.array(p.colour) * _FAR_SHADE))
        for p in far_arm + far_leg
    ]
    head = _neck(look, lengths, thick) + _head(look, height_m)
    return darker + head + near_leg + _trunk(look, lengths, thick) + near_arm


def _draw_cloth(rng: np.random.Generator, dark: float, light: float) -> Colour:
    """Draw a muted colour between two brightnesses."""
    hue = rng.dirichlet([5, 5, 5]) * 3
    return _as_colour((0.6 + 0.4 * hue) * rng.uniform(dark, light))


def _as_colour(values: Float[np.ndarray, "3"]) -> Colour:
    red, green, blue = np.clip(values, 0, 255).tolist()
    return red, green, blue


def _shaded(
    part: Part, outline: Float[np.ndarray, "point 2"], colour: Colour, lit_from: float = 0.25
) -> list[Piece]:
    """Stack narrower, lighter outlines so that the part looks round."""
    base = np.array(colour)
    middle = outline.mean(axis=0)
    offset = np.array([lit_from * np.ptp(outline[:, 0]) / 2, 0.0])
    steps = ((1.0, 0.82), (0.76, 0.94), (0.44, 1.04))
    return [
        Piece(
            part,
            (outline - middle) * [width, 1 - (1 - width) * 0.35] + middle + offset * (1 - width),
            _as_colour(base * light),
        )
        for width, light in steps
    ]


def _joined(below: list[Piece], above: list[Piece]) -> list[Piece]:
    """Order two shaded parts layer by layer, so that cloth runs over the joint between them."""
    return [piece for layer in zip(below, above, strict=True) for piece in layer]


def _limb(
    length: float, stations: tuple[tuple[float, float, float], ...]
) -> Float[np.ndarray, "point 2"]:
    """Outline a limb that hangs from the origin, or rises from it with a negative length.

    Args:
        length: Distance between its joints, metres; downwards is positive.
        stations: (share of the length, back, front) from the top down; depths in metres to each
            side of the axis. The ends are rounded.
    """
    share, back, front = np.array(stations).T
    along = np.linspace(share[0], share[-1], 14)
    down = -length * along
    front_edge = np.stack([PchipInterpolator(share, front)(along), down], axis=-1)
    back_edge = np.stack([-PchipInterpolator(share, back)(along), down], axis=-1)
    up = float(np.sign(length))
    last = _cap(front_edge[-1], back_edge[-1], -up)
    first = _cap(back_edge[0], front_edge[0], up)
    return np.concatenate([front_edge, last, back_edge[::-1], first])


def _cap(
    start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"], up: float
) -> Float[np.ndarray, "point 2"]:
    """Half an ellipse from one edge to the other, bulging up or down."""
    turn = np.linspace(0, np.pi, 9)[1:-1, None]
    middle, radius = (start + end) / 2, (start - end) / 2
    bulge = np.array([0.0, up * abs(radius[0])])
    return np.asarray(middle + radius * np.cos(turn) + bulge * np.sin(turn))


def _leg(look: Look, lengths: Segments, thick: float, thigh: Part) -> list[Piece]:
    """Thigh and shank in trousers, and a shoe whose toes bend."""
    upper = _limb(
        lengths.thigh,
        ((0.0, 0.052 * thick, 0.048 * thick), (0.45, 0.044 * thick, 0.045 * thick),
         (1.0, 0.033 * thick, 0.035 * thick)),
    )  # fmt: skip
    lower = _limb(
        lengths.shank,
        ((0.0, 0.033 * thick, 0.034 * thick), (0.3, 0.040 * thick, 0.028 * thick),
         (0.93, 0.027 * thick, 0.025 * thick)),
    )  # fmt: skip
    shank, foot, toes = Part(thigh + 1), Part(thigh + 2), Part(thigh + 3)
    return [
        *_shoe(look, lengths, foot, toes),
        *_joined(_shaded(shank, lower, look.trousers), _shaded(thigh, upper, look.trousers)),
    ]


def _shoe(look: Look, lengths: Segments, foot: Part, toes: Part) -> list[Piece]:
    """A shoe with a sole; its tip turns about the ball of the foot."""
    heel, ball, rise, tip = lengths.heel, lengths.ball, lengths.ankle_height, lengths.toes
    upper = np.array(
        [(-heel, -rise), (-1.05 * heel, -0.5 * rise), (-0.8 * heel, 0.55 * rise),
         (0.55 * heel, 0.55 * rise), (0.6 * ball, -0.1 * rise), (ball, -0.42 * rise),
         (ball, -rise)]
    )  # fmt: skip
    sole = np.array(
        [(-heel, -rise), (-1.05 * heel, -0.75 * rise), (ball, -0.75 * rise), (ball, -rise)]
    )
    front = np.array(
        [(0, 0), (-0.1 * tip, 0.3 * rise), (0, 0.58 * rise), (0.6 * tip, 0.42 * rise),
         (tip, 0.2 * rise), (tip, 0.04 * rise), (0.8 * tip, 0)]
    )  # fmt: skip
    edge = _as_colour(np.array(look.shoes) * 0.6)
    front_sole = np.array([(0, 0), (0, 0.25 * rise), (tip, 0.2 * rise), (0.9 * tip, 0)])
    return [
        Piece(toes, front, look.shoes),
        Piece(toes, front_sole, edge),
        Piece(foot, upper, look.shoes),
        Piece(foot, sole, edge),
    ]


def _arm(look: Look, lengths: Segments, thick: float, upper_arm: Part) -> list[Piece]:
    """Sleeve, forearm and a loosely closed hand."""
    forearm = Part(upper_arm + 1)
    sleeve = _limb(
        lengths.upper_arm,
        ((0.0, 0.031 * thick, 0.031 * thick), (0.5, 0.026 * thick, 0.027 * thick),
         (1.0, 0.022 * thick, 0.022 * thick)),
    )  # fmt: skip
    lower = _limb(
        lengths.forearm,
        ((0.0, 0.022 * thick, 0.022 * thick), (0.3, 0.022 * thick, 0.023 * thick),
         (1.0, 0.015 * thick, 0.015 * thick)),
    )  # fmt: skip
    turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    hand = np.stack([0.020 * np.cos(turn) + 0.006, 0.036 * np.sin(turn)], axis=-1) * thick
    hand[:, 1] -= 1.14 * lengths.forearm
    cloth = _as_colour(np.array(look.top) * 0.94)
    below = _shaded(forearm, lower, cloth if look.long_sleeves else look.skin)
    above = _shaded(upper_arm, sleeve, cloth)
    return [
        Piece(forearm, hand, _as_colour(np.array(look.skin) * 0.95)),
        *(_joined(below, above) if look.long_sleeves else below + above),
    ]


def _trunk(look: Look, lengths: Segments, thick: float) -> list[Piece]:
    """Lower trunk with seat and belly under a hem, and a chest with a rounded shoulder."""
    abdomen = _limb(
        -lengths.abdomen,
        ((-0.16, 0.072 * thick, 0.056 * thick),
         (0.1, 0.076 * thick, (0.062 + 0.01 * look.belly) * thick),
         (1.1, 0.060 * thick, (0.064 + 0.05 * look.belly) * thick)),
    )  # fmt: skip
    chest = _limb(
        -lengths.thorax,
        ((-0.10, 0.060 * thick, (0.064 + 0.045 * look.belly) * thick),
         (0.45, 0.072 * thick, 0.066 * thick), (0.80, 0.062 * thick, 0.046 * thick),
         (0.97, 0.036 * thick, 0.026 * thick)),
    )  # fmt: skip
    hem = _limb(
        -lengths.abdomen,
        ((-0.42, 0.066 * thick, 0.052 * thick), (0.0, 0.072 * thick, 0.056 * thick)),
    )
    return [
        Piece(Part.ABDOMEN, hem, _as_colour(np.array(look.trousers) * 0.85)),
        *_joined(_shaded(Part.ABDOMEN, abdomen, look.top), _shaded(Part.THORAX, chest, look.top)),
    ]


def _neck(look: Look, lengths: Segments, thick: float) -> list[Piece]:
    depth = 0.031 * np.sqrt(thick * lengths.thorax / 0.19)
    outline = _limb(-lengths.neck, ((-0.5, 1.1 * depth, depth), (1.3, 0.95 * depth, 0.8 * depth)))
    return _shaded(Part.NECK, outline, _as_colour(np.array(look.skin) * 0.92))


def _head(look: Look, height_m: float) -> list[Piece]:
    """A profile with nose and chin, hair, an ear and an eye; shares of the standing height."""
    face = [
        (-0.018, -0.030), (0.010, -0.030), (0.036, -0.034), (0.050, -0.030), (0.053, -0.020),
        (0.051, -0.012), (0.055, -0.008), (0.055, 0.001), (0.068, 0.006), (0.058, 0.028),
        (0.057, 0.040), (0.058, 0.055), (0.048, 0.078), (0.026, 0.092), (-0.005, 0.096),
        (-0.036, 0.088), (-0.056, 0.066), (-0.060, 0.040), (-0.052, 0.012), (-0.036, -0.012),
    ]  # fmt: skip
    nape = (-0.062, -0.028) if look.long_hair else (-0.046, 0.002)
    behind_ear = (-0.034, -0.030) if look.long_hair else (-0.034, -0.004)
    hair = [
        nape, (-0.067, 0.040), (-0.062, 0.070), (-0.040, 0.095), (-0.005, 0.103),
        (0.030, 0.098), (0.056, 0.078), (0.052, 0.070), (0.030, 0.074), (0.012, 0.062),
        (0.004, 0.040), (-0.012, 0.034), (-0.022, 0.012), behind_ear,
    ]  # fmt: skip
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    round_ = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    ear = round_ * [0.009, 0.015] + [-0.008, 0.024]
    eye = round_ * [0.0045, 0.004] + [0.043, 0.036]
    skin = np.array(look.skin)
    outlines = [
        (np.array(face), skin * 0.94),
        (np.array(face) * [0.72, 0.8] + [0.012, 0.008], skin * 1.05),
        (eye, np.array([45.0, 38.0, 36.0])),
        (np.array(hair), np.array(look.hair) * 0.9),
        (np.array(hair) * [0.8, 0.86] + [-0.002, 0.010], np.array(look.hair) * 1.06),
        (ear, skin * 0.84),
    ]
    return [Piece(Part.HEAD, 0.97 * height_m * o, _as_colour(c)) for o, c in outlines]
