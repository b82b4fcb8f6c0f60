"""The report of a preprocessing run: one HTML file for people who look.

It names a video by its line in the labels file and the start of its key, never by its name or its
patient: the report may be seen by people who must not know them. It is written piece by piece, so
memory does not grow with the number of videos, and shows pictures of at most 100 of them.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined

from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import Presence
from preprocess.film_strip import colour_wheel, fastest_px, film_strip, spread_frames, webp
from preprocess.flags import Flag, JudgedVideo, flag_counts
from preprocess.quality import Figures, describe, source_frames, stored_stretches
from preprocess.timeline import LEFT, PANEL_HEIGHT, RIGHT, STRIP_HEIGHT, WIDTH, Timeline, timeline

WORST = 50
"""Videos with the most severe flags that are shown with pictures."""

SAMPLE = 50
"""Videos that are shown beside them, evenly spread over the rest."""

_COLUMNS, _SIDE_PX = 8, 128
_NONE = "-"

_PRESENCE = {
    Presence.SEEN: ("seen", "seen and stored"),
    Presence.BRIDGED: ("bridged", "not seen for a moment: interpolated and stored"),
    Presence.LEFT_OUT: ("left-out", "seen but left out: in part, or too short"),
    Presence.NEARBY: ("nearby", "just out of the picture: entering or leaving"),
    Presence.ABSENT: ("absent", "not seen"),
}


class Exclusion(NamedTuple):
    """A video that could not be stored."""

    row: int
    """Its line in the labels file."""

    label: str
    """The patient's class."""

    reason: str


class _Column(NamedTuple):
    """A column of the table of all videos."""

    title: str
    meaning: str
    text: Callable[[Figures], str]


@dataclass(frozen=True)
class _Card:
    """One video with its pictures."""

    name: str
    anchor: str
    label: str
    flags: list[Flag]
    figures: list[tuple[str, str]]
    strip: str
    times: list[str]
    timeline: Timeline


def video_name(row: int, key: str) -> str:
    """Name of a video that tells nothing of its patient, such as `row 12 · 3fa9c2d1`."""
    return f"row {row} · {key[:8]}"


def write_report(
    path: Path,
    *,
    store: ClipStore | None,
    videos: Sequence[JudgedVideo],
    exclusions: Sequence[Exclusion],
    recipe: Mapping[str, object],
    made_at: datetime,
    faces: bool = False,
) -> None:
    """Write the report of a cohort.

    Args:
        path: HTML file to write.
        store: The finished store; None if not a single video could be stored.
        videos: Every stored video with its flags, worst first.
        exclusions: The videos that could not be stored.
        recipe: Parameters that change what is computed.
        made_at: When the videos were preprocessed.
        faces: Whether pictures show what may hold a face.
    """
    worst, sample = _shown(videos)
    shown = {video.figures.key for video in [*worst, *sample]}
    page = _template().stream(
        made_at=made_at.strftime("%Y-%m-%d %H:%M"),
        recipe=recipe,
        backends=store.backends if store else {},
        digest=store.digest if store else None,
        exclusions=exclusions,
        num_stored=len(videos),
        num_patients=store.videos["patient_id"].nunique() if store else 0,
        num_flagged=sum(bool(video.flags) for video in videos),
        classes=_classes(store, videos, exclusions),
        flag_counts=flag_counts(videos),
        groups=_groups(store, worst, sample, len(videos), faces) if store else [],
        faces=faces,
        compared=list(_COMPARED),
        columns=_TABLE,
        rows=((video, video.figures.key in shown) for video in videos),
        fastest=f"{fastest_px(store.size):.3g}" if store else "",
        wheel=_data_uri(colour_wheel(96)),
        presence=_PRESENCE,
        shape={"left": LEFT, "right": WIDTH - RIGHT, "width": WIDTH, "panel": PANEL_HEIGHT}
        | {"strip": STRIP_HEIGHT, "side": _SIDE_PX},
    )
    page.dump(str(path), encoding="utf-8")


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("preprocess"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals.update(video_name=video_name, anchor=_anchor)
    return environment.get_template("report.html")


def _shown(videos: Sequence[JudgedVideo]) -> tuple[list[JudgedVideo], list[JudgedVideo]]:
    """The worst videos, and some of the rest in the order of the labels file."""
    rest = sorted(videos[WORST:], key=lambda video: video.figures.row)
    places = np.linspace(0, len(rest) - 1, min(SAMPLE, len(rest))).round().astype(int)
    return list(videos[:WORST]), [rest[place] for place in places]


def _groups(
    store: ClipStore,
    worst: list[JudgedVideo],
    sample: list[JudgedVideo],
    total: int,
    faces: bool,
) -> Iterator[tuple[str, Iterable[_Card]]]:
    """Heading and videos, pictures being made when they are written."""
    index = {facts["key"]: facts for facts in store.videos.to_dict("records")}

    def cards(videos: list[JudgedVideo]) -> Iterator[_Card]:
        return (_card(store, video, index[video.figures.key], faces) for video in videos)

    if not sample:
        yield "All videos, the worst first", cards(worst)
        return
    yield f"The {len(worst)} videos with the most severe flags, the worst first", cards(worst)
    rest = total - len(worst)
    some = "The others" if len(sample) == rest else f"{len(sample)} of the {rest} others"
    yield f"{some}, in the order of the labels file", cards(sample)


def _card(store: ClipStore, video: JudgedVideo, facts: Mapping[Any, Any], faces: bool) -> _Card:
    figures = video.figures
    numbers = spread_frames(stored_stretches(facts), _COLUMNS)
    in_source = source_frames(facts)[numbers]
    return _Card(
        name=video_name(figures.row, figures.key),
        anchor=_anchor(figures.row),
        label=figures.label,
        flags=video.flags,
        figures=[(column.title, column.text(figures)) for column in _TABLE],
        strip=_data_uri(film_strip(store, figures.key, numbers, _SIDE_PX, faces=faces)),
        times=[f"{number / figures.frame_rate_hz:.1f} s" for number in in_source],
        timeline=timeline(
            store.track(figures.key),
            facts["stretches"],
            store.presence(figures.key),
            figures.frame_rate_hz,
        ),
    )


def _classes(
    store: ClipStore | None, videos: Sequence[JudgedVideo], exclusions: Sequence[Exclusion]
) -> list[tuple[str, list[str]]]:
    """Per class: patients, videos, exclusions, flagged videos, and medians of some figures.

    Classes that were filmed differently can be told apart without looking at the gait.
    """
    excluded = pd.Series([e.label for e in exclusions], dtype=str).value_counts()
    patients: dict[Any, int] = {}
    if store:
        patients = store.videos.groupby("label")["patient_id"].nunique().to_dict()
    lines = []
    for label in sorted({*(v.figures.label for v in videos), *excluded.index}):
        of_class = [video for video in videos if video.figures.label == label]
        counts = [patients.get(label, 0), len(of_class), excluded.get(label, 0)]
        flagged = sum(bool(video.flags) for video in of_class)
        medians = [
            _median_text(column, [video.figures for video in of_class])
            for column in _TABLE
            if column.title in _COMPARED
        ]
        lines.append((label, [*(str(count) for count in [*counts, flagged]), *medians]))
    return lines


def _median_text(column: _Column, figures: Sequence[Figures]) -> str:
    """The middle video's text: of two in the middle, the smaller one's.

    A video that has no such figure (nan) has no place in the order and is left out.
    """
    field = _COMPARED[column.title]
    known = [video for video in figures if not isnan(getattr(video, field))]
    if not known:
        return _NONE
    values = sorted(known, key=lambda video: float(getattr(video, field)))
    return column.text(values[(len(values) - 1) // 2])


def _share(value: float) -> str:
    return f"{value:.0%}".replace("%", " %")


def _column(title: str, field: str, text: Callable[[Any], str] = str) -> _Column:
    def cell(video: Figures) -> str:
        value = getattr(video, field)
        return _NONE if isinstance(value, float) and isnan(value) else text(value)

    return _Column(title, describe(field), cell)


_TABLE = [
    _column("class", "label"),
    _column("length", "duration_seconds", lambda v: f"{v:.1f} s"),
    _column("frames per second", "frame_rate_hz", lambda v: f"{v:.4g}"),
    _Column(
        "source",
        "Width and height of the source's pictures, pixels.",
        lambda video: f"{video.source_width} x {video.source_height}",
    ),
    _column("stored frames", "num_frames"),
    _column("stretches", "num_stretches"),
    _column("longest stretch", "longest_seconds", lambda v: f"{v:.1f} s"),
    _column("seen", "person_share", _share),
    _column("bridged", "bridged_share", _share),
    _column("people", "num_people"),
    _column("mix-ups", "num_switches"),
    _column("crop side", "crop_side_px", lambda v: f"{v:.0f} px"),
    _column("enlargement", "enlargement", lambda v: f"{v:.2f}"),
    _column("crop jitter", "crop_jitter", lambda v: f"{v:.3%}".replace("%", " %")),
    _column("mask", "mask_share", lambda v: f"{v:.1%}".replace("%", " %")),
    _column("smallest mask", "mask_share_min", lambda v: f"{v:.1%}".replace("%", " %")),
    _column("mask flicker", "mask_flicker", lambda v: f"{v:.1%}".replace("%", " %")),
    _column("mask cut off", "mask_cut_share", _share),
    _column("body flow", "body_flow_px", lambda v: f"{v:.2f} px"),
    _column("surroundings", "surroundings_flow_px", lambda v: f"{v:.2f} px"),
]

_COMPARED = {
    "length": "duration_seconds",
    "frames per second": "frame_rate_hz",
    "seen": "person_share",
    "enlargement": "enlargement",
    "mask": "mask_share",
    "body flow": "body_flow_px",
}
"""Columns whose medians are compared between classes, and the figures they show."""


def _anchor(row: int) -> str:
    return f"row-{row}"


def _data_uri(picture: UInt8[np.ndarray, "height width 3"]) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp(picture)).decode()}"
