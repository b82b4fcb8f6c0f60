"""Pictures of explained clips: films, and a sheet that shows them all."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from asd_experiments.data.store import StoredFrames
from asd_experiments.evaluation.figures.style import figure_to_array
from asd_experiments.explanation.saliency import Map, MapName
from preprocess.film import numbered, write_film
from preprocess.film_strip import fastest_px, flow_colours, outlined, resized
from preprocess.heads import without_faces

SLOW_MOTION = 4
"""A film runs at a fraction of the walk's speed: a clip lasts half a second."""

MOST_ON_SHEET = 12
"""Clips on a contact sheet; films are there of all."""

_HEAT = colormaps["inferno"]
_FULL_PERCENTILE = 99.5  # a few brilliant pixels of integrated gradients would darken all others
_OUTLINE = (86, 180, 233)  # Okabe and Ito's sky blue, which is not in the colours of the heat
_DIMMED = 0.55  # brightness of the picture below a map: white clothes would outshine it
_SIDE_PX = 224
_NUM_FRAMES = 3  # of a clip on the sheet
_DPI = 100
_TITLE_PT, _TEXT_PT = 13, 11
_TEXT_CHARACTERS = 20  # of the name of a column


@dataclass(frozen=True)
class ExplainedClip:
    """A clip with its maps, and what the trial said of it."""

    patient_id: str
    """Whom it shows."""

    seconds: float
    """Where it starts in the source video, seconds."""

    frame_rate_hz: float
    """Stored frames per second."""

    label: str
    """True class."""

    decision: str
    """Class that the patient was given, which the maps explain."""

    probability: float
    """Of that class, for this clip."""

    frames: StoredFrames
    """The clip as it is stored."""

    segmentation: bool
    """Whether the network saw the body alone."""

    maps: dict[MapName, Map]
    """Saliency on the grid of the network's input."""

    faces: bool = False
    """Whether pictures show what may hold a face."""

    @property
    def caption(self) -> str:
        """What a reader must know of it, in a line."""
        outcome = "right" if self.decision == self.label else "wrong"
        return (
            f"{self.patient_id}, from {self.seconds:.2f} s: decided {self.decision} "
            f"(probability in this clip {self.probability:.2f}), truth {self.label}: {outcome}"
        )

    @property
    def titles(self) -> list[str]:
        """Names of the pictures side by side."""
        return [name.title if isinstance(name, MapName) else name for name, *_ in self._columns()]

    def picture(self, frame: int) -> UInt8[np.ndarray, "side width 3"]:
        """All pictures of one frame side by side: what a stream sees, then its maps.

        Args:
            frame: Number in the clip, counted from 0.
        """
        body = self.frames.mask[frame]
        pictures = []
        for name, scale in self._columns():
            if isinstance(name, MapName):
                shown = _heated(self._shown(frame), self.maps[name][frame], scale)
                pictures.append(outlined(shown, body, _SIDE_PX, _OUTLINE))
            else:
                shown = self._appearance(frame) if name == "appearance" else self._motion(frame)
                pictures.append(resized(shown, _SIDE_PX))
        return np.concatenate(pictures, axis=1)

    def _columns(self) -> Iterator[tuple[str | MapName, float]]:
        """A stream or a map, and the value of the map that is drawn as the highest."""
        for source in ("appearance", "motion", "joint"):
            names = [name for name in self.maps if name.source == source]
            if names and source != "joint":
                yield source, 0.0
            for name in names:
                yield name, float(np.percentile(self.maps[name], _FULL_PERCENTILE))

    def _appearance(self, frame: int) -> UInt8[np.ndarray, "size size 3"]:
        rgb, mask = self._shown(frame), self.frames.mask[frame]
        return np.asarray(rgb * mask[..., None] if self.segmentation else rgb)

    def _shown(self, frame: int) -> UInt8[np.ndarray, "size size 3"]:
        """The frame's picture, as much of it as may be shown."""
        rgb, mask = self.frames.rgb[frame], self.frames.mask[frame]
        return rgb if self.faces else without_faces(rgb, mask)

    def _motion(self, frame: int) -> UInt8[np.ndarray, "size size 3"]:
        """Flow to the next frame; the last one is shown again, as the network sees it again."""
        frame = min(frame, len(self.frames.flow) - 1)
        flow, mask = self.frames.flow[frame], self.frames.mask[frame]
        colours = flow_colours(flow, self._fastest_px)
        return np.asarray(colours * mask[..., None] if self.segmentation else colours)

    @property
    def _fastest_px(self) -> float:
        """Speed that is drawn at full brightness: that of the clip's fastest parts of the body."""
        speeds = np.hypot(*np.moveaxis(self.frames.flow, -1, 0))[self.frames.mask[:-1] == 1]
        fastest = float(np.percentile(speeds, _FULL_PERCENTILE)) if speeds.size else 0.0
        return max(fastest, fastest_px(self.frames.flow.shape[1]) / 8)


def write_saliency_film(clip: ExplainedClip, path: Path) -> None:
    """Write a clip with its maps as a film in slow motion, with names above the pictures.

    Every picture carries the number of its frame in the clip, counted from 0.

    Args:
        clip: The clip.
        path: MP4 file to write.
    """
    headline = _headline(clip)
    pictures = (
        numbered(np.concatenate([headline, clip.picture(frame)]), frame)
        for frame in range(len(clip.frames.rgb))
    )
    write_film(pictures, clip.frame_rate_hz / SLOW_MOTION, path)


def contact_sheet(clips: Sequence[ExplainedClip]) -> Figure:
    """Draw the first clips below one another, a few frames of each.

    Args:
        clips: At least one, with the same kinds of maps.
    """
    clips = clips[:MOST_ON_SHEET]
    titles = [_wrapped(title) for title in clips[0].titles]
    width, height = len(titles) * _SIDE_PX, _NUM_FRAMES * _SIDE_PX
    size = (width + 100) / _DPI, (height + 100) * len(clips) / _DPI + 1
    figure = Figure(figsize=size, dpi=_DPI, layout=ConstrainedLayoutEngine(h_pad=0.15))
    middles = (np.arange(len(titles)) + 0.5) * _SIDE_PX
    axes = figure.subplots(len(clips), squeeze=False)[:, 0]
    for place, clip in zip(axes, clips, strict=True):
        numbers = np.linspace(0, len(clip.frames.rgb) - 1, _NUM_FRAMES).round().astype(int)
        place.imshow(np.concatenate([clip.picture(int(number)) for number in numbers]))
        place.set_title(clip.caption, fontsize=_TITLE_PT, loc="left")
        place.set_xticks(middles, titles, fontsize=_TEXT_PT)
        times = [f"{clip.seconds + number / clip.frame_rate_hz:.2f} s" for number in numbers]
        place.set_yticks((np.arange(_NUM_FRAMES) + 0.5) * _SIDE_PX, times, fontsize=_TEXT_PT)
        place.tick_params(length=0)
        place.xaxis.tick_top()
        place.spines[:].set_visible(False)
    bar = figure.colorbar(
        ScalarMappable(cmap=_HEAT), ax=axes[-1], location="bottom", shrink=0.5, anchor=(0, 1)
    )
    bar.set_ticks([0, 1], labels=["0 %", "100 %"])
    legend = f"of the {_FULL_PERCENTILE}th percentile of a map in its clip; blue line: body mask"
    bar.set_label(legend, fontsize=_TEXT_PT)
    bar.ax.tick_params(labelsize=_TEXT_PT)
    return figure


def _heated(
    picture: UInt8[np.ndarray, "size size 3"],
    values: Float[np.ndarray, "height width"],
    highest: float,
) -> UInt8[np.ndarray, "size size 3"]:
    """Lay a map on a picture without its colours: the higher, the less of the picture is left."""
    side = picture.shape[0]
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None] * (_DIMMED / 255)
    fine = cv2.resize(values.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    heat = np.clip(fine / highest, 0, 1) if highest > 0 else np.zeros_like(fine)
    colours, share = _HEAT(heat)[..., :3], heat[..., None]
    return np.asarray((255 * (grey * (1 - share) + colours * share)).astype(np.uint8))


def _headline(clip: ExplainedClip) -> UInt8[np.ndarray, "height width 3"]:
    """A strip with the caption, and the name of every picture above it."""
    titles = clip.titles
    width, height = len(titles) * _SIDE_PX, 80
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    caption = "\n".join(textwrap.wrap(clip.caption, width // 8))
    figure.text(0.5, 0.95, caption, ha="center", va="top", fontsize=_TEXT_PT)
    for number, title in enumerate(titles):
        place = (number + 0.5) / len(titles)
        figure.text(place, 0.02, _wrapped(title), ha="center", va="bottom", fontsize=_TEXT_PT)
    return figure_to_array(figure)


def _wrapped(title: str) -> str:
    return textwrap.fill(title, _TEXT_CHARACTERS, break_on_hyphens=False)
