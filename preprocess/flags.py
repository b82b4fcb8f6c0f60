"""What is wrong with a stored video, in short sentences, from its figures.

The limits are chosen by hand. Where they rest on walks, these are the twenty real ones of GPJATK
and twelve simulated ones (`simulate` with patients=12, videos_per_patient=1), through `preprocess`
as it is by default; its quality table has the figures.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from preprocess.quality import Figures

SEEN_SHARE = 2 / 3
"""A video that shows the patient for less than two thirds of its time was cut badly, or the person
was not found where there was one."""

BRIDGED_SHARE = 0.1
"""One interpolated frame in ten: the crop is guessed somewhere in most clips of 16 frames."""

MIX_UPS = 0
"""No walk has any. It takes another body that passes, or a shadow that joins, for a box to change
its height by 30 % or to become wider than a body is high."""

ENLARGEMENT = 1.5
"""From here on more than half of the stored pixels are interpolated (1.5 squared is 2.25)."""

SHORTEST_SECONDS = 1.0
"""Length of the published study's clips; a shorter walk holds no whole gait cycle."""

JITTER = 0.002
"""Three times what the crops of walks have at most (0.0002 to 0.0006); about half a pixel per frame
at 224 pixels, which is half the median flow of a body that walks (0.9 real, 1.2 simulated)."""

SMALL_MASK = 0.04
"""Half of what the mask of a walk covers, 0.06 to 0.11 of the crop, usually 0.09."""

LARGE_MASK = 0.3
"""No body fills this much of a crop that is as wide as it is high: three times the usual."""

SHRUNK_MASK = 0.3
"""Share of its own median to which a mask never shrinks by walking (0.76 at the least)."""

FLICKER = 0.1
"""More than twice what the mask of a walk changes from frame to frame, 0.02 to 0.04."""

CUT_SHARE = 0.05
"""A margin keeps the body off the crop's border; a mask that gets there in more than a few frames
is cut off or holds something else."""

UNREST_SHARE = 0.007
"""Speed of the surroundings per frame as a share of the crop's side. A camera that stands still
gives 0.0005 to 0.0011 in a real room and up to 0.002 before simulated walls, which are plainer. One
that pans with a walker of 1.2 m/s gives 0.02 (4 cm per frame at 30 Hz, of a crop of 2 m)."""

RATE_DIFFERENCE = 0.02
"""Relative difference of frame rates that is more than rounding (29.97 and 30 are 0.001 apart)."""


class Flag(NamedTuple):
    """One thing that is wrong with one video."""

    name: str
    """Name of the rule."""

    severity: int
    """1: worth a look; 2: doubtful; 3: probably not what it should be."""

    sentence: str
    """What is wrong, with its figure."""


class JudgedVideo(NamedTuple):
    """A video's figures and what follows from them."""

    figures: Figures
    flags: list[Flag]

    @property
    def severity(self) -> int:
        """Sum over the flags."""
        return sum(flag.severity for flag in self.flags)


class _Cohort(NamedTuple):
    """What a video is compared with."""

    cohort_rate_hz: float
    """Median frame rate of all videos."""

    size: int
    """Side of the stored frames, pixels."""

    margin: float
    """Room around the body on each side of the crop, as a share of the body's height."""


@dataclass(frozen=True)
class Rule:
    """One way in which a video can be wrong."""

    name: str
    title: str
    """What is wrong, in general."""

    severity: int
    applies: Callable[[Figures, _Cohort], bool]
    sentence: str
    """What is wrong, with fields of `Figures` and `_Cohort` in braces."""


RULES = (
    Rule(
        "seldom_seen",
        "Patient seen in less than two thirds of the video",
        2,
        lambda video, _: video.person_share < SEEN_SHARE,
        "person seen in {person_share:.0%} of the frames",
    ),
    Rule(
        "bridged",
        "Crop often interpolated",
        1,
        lambda video, _: video.bridged_share > BRIDGED_SHARE,
        "person interpolated in {bridged_share:.0%} of the stored frames",
    ),
    Rule(
        "short",
        "Short",
        2,
        lambda video, _: video.longest_seconds < SHORTEST_SECONDS,
        "longest stretch lasts {longest_seconds:.1f} s",
    ),
    Rule(
        "other_people",
        "Other people in the video",
        1,
        lambda video, _: video.num_people > 1,
        "{num_people} people were followed: is the one in the crop the patient?",
    ),
    Rule(
        "switched",
        "Something else in the patient's box",
        1,
        lambda video, _: video.num_switches > MIX_UPS,
        "times that the patient's box held something else (a body, a shadow) or a part: "
        "{num_switches}",
    ),
    Rule(
        "enlarged",
        "Low resolution",
        2,
        lambda video, _: video.enlargement > ENLARGEMENT,
        "body enlarged {enlargement:.1f} times: the video's resolution is low",
    ),
    Rule(
        "beyond_picture",
        "Body larger than the picture",
        3,
        lambda video, cohort: video.crop_side_px > video.source_height * (1 + 2 * cohort.margin),
        "crop of {crop_side_px:.0f} px in a picture {source_height} px high: this is no body",
    ),
    Rule(
        "unsteady_crop",
        "Unsteady crop",
        2,
        lambda video, _: video.crop_jitter > JITTER,
        "crop jitters by {crop_jitter:.2%} of its side per frame",
    ),
    Rule(
        "small_mask",
        "Small mask",
        3,
        lambda video, _: video.mask_share < SMALL_MASK,
        "mask covers {mask_share:.1%} of the crop",
    ),
    Rule(
        "large_mask",
        "Large mask",
        3,
        lambda video, _: video.mask_share > LARGE_MASK,
        "mask covers {mask_share:.0%} of the crop: more than a body",
    ),
    Rule(
        "shrunk_mask",
        "Mask shrinks for a while",
        2,
        lambda video, _: video.mask_share_min < SHRUNK_MASK * video.mask_share,
        "mask shrinks to {mask_share_min:.1%} of the crop from {mask_share:.1%}",
    ),
    Rule(
        "flickering_mask",
        "Flickering mask",
        2,
        lambda video, _: video.mask_flicker > FLICKER,
        "mask changes by {mask_flicker:.0%} from frame to frame",
    ),
    Rule(
        "cut_mask",
        "Mask cut off by the crop",
        2,
        lambda video, _: video.mask_cut_share > CUT_SHARE,
        "mask touches the crop's border in {mask_cut_share:.0%} of the frames",
    ),
    Rule(
        "unrest",
        "Moving surroundings",
        2,
        lambda video, cohort: video.surroundings_flow_px > UNREST_SHARE * cohort.size,
        "surroundings move {surroundings_flow_px:.1f} px per frame: did the camera stand still?",
    ),
    Rule(
        "other_rate",
        "Frame rate unlike the others'",
        2,
        lambda video, cohort: (
            abs(video.frame_rate_hz / cohort.cohort_rate_hz - 1) > RATE_DIFFERENCE
        ),
        "{frame_rate_hz:.4g} frames per second, the cohort's median is {cohort_rate_hz:.4g}",
    ),
)
"""Every rule; of one severity, flags are listed in this order."""


def judge(
    figures: Sequence[Figures], *, size: int, margin: float, rate_hz: float | None = None
) -> list[JudgedVideo]:
    """Flag what is wrong with each video of a cohort.

    Args:
        figures: Figures of all videos.
        size: Side of the stored frames, pixels.
        margin: Room around the body, as the recipe has it.
        rate_hz: Median frame rate of the cohort that they are compared with. None: their own.

    Returns:
        The videos with their flags, worst first.
    """
    if rate_hz is None:
        rate_hz = float(np.median([video.frame_rate_hz for video in figures]))
    cohort = _Cohort(rate_hz, size, margin)
    judged = [JudgedVideo(video, _flags(video, cohort)) for video in figures]
    return sorted(judged, key=lambda video: (-video.severity, video.figures.row))


def quality_table(videos: Iterable[JudgedVideo]) -> pd.DataFrame:
    """One row per video: all of `Figures`, `severity`, names of the `flags`, and `remarks`."""
    return pd.DataFrame(
        {
            **asdict(video.figures),
            "severity": video.severity,
            "flags": [flag.name for flag in video.flags],
            "remarks": [flag.sentence for flag in video.flags],
        }
        for video in videos
    )


def flag_counts(videos: Sequence[JudgedVideo]) -> list[tuple[str, str, int, int]]:
    """Name, title, severity and number of videos of every rule that applies to any video."""
    names = [flag.name for video in videos for flag in video.flags]
    counts = [(rule.name, rule.title, rule.severity, names.count(rule.name)) for rule in RULES]
    return sorted((c for c in counts if c[3]), key=lambda c: (-c[2], -c[3]))


def _flags(video: Figures, cohort: _Cohort) -> list[Flag]:
    values = {**asdict(video), **cohort._asdict()}
    flags = [
        Flag(rule.name, rule.severity, rule.sentence.format_map(values).replace("%", " %"))
        for rule in RULES
        if rule.applies(video, cohort)
    ]
    return sorted(flags, key=lambda flag: -flag.severity)
