"""The page is read back as a browser does: by an HTML parser, not by its source."""

import base64
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from itertools import repeat
from math import nan
from pathlib import Path

import cv2
import numpy as np
import pytest

from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import Presence, video_key
from asd_experiments.data.store_writer import StoreWriter
from preprocess.flags import JudgedVideo, judge
from preprocess.quality import quality_figures
from preprocess.report import SAMPLE, WORST, Exclusion, video_name, write_report
from tests.conftest import facts_of, moving_square

VOID = {"meta", "img", "br", "line", "rect", "polyline"}


class Page(HTMLParser):
    """Text, elements, and whatever is not closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += " "
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def judged(small_store: ClipStore) -> list[JudgedVideo]:
    rows = range(2, 2 + len(small_store.videos))
    videos = list(quality_figures(small_store, rows))
    videos[4] = replace(videos[4], num_switches=2)
    return judge(videos, size=small_store.size, margin=0.15)


def written(path: Path, store: ClipStore | None, videos: list[JudgedVideo], **changes) -> Page:
    settings = {"exclusions": [], "recipe": {"people": "motion", "segment": None}, **changes}
    made_at = datetime(2026, 5, 17, 14, 3)
    write_report(path, store=store, videos=videos, made_at=made_at, **settings)
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def page(small_store, judged, tmp_path_factory) -> Page:
    exclusions = [Exclusion(14, "ASD", "no person found <here>")]
    path = tmp_path_factory.mktemp("report") / "report.html"
    return written(path, small_store, judged, exclusions=exclusions)


def test_page_says_how_it_was_made_and_what_came_out(page: Page, small_store: ClipStore) -> None:
    text = " ".join(page.text.split())
    assert "12 of 13 videos, of 12 patients, are stored; 12 of them have flags" in text
    assert "2026-05-17 14:03" in text and small_store.digest in text
    assert "opencv test" in text and "people motion segment not given" in text
    assert "14 ASD no person found <here>" in text
    assert re.search(r"ASD 6 6 1 \d+ 1\.2 s 25 90 % 1\.00", text)
    assert "Something else in the patient's box 1 8 %" in text


def test_page_needs_nothing_from_elsewhere_and_runs_nothing(page: Page) -> None:
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/webp;base64,"))


def test_every_video_has_its_strip_its_drawing_and_its_row(page: Page, judged) -> None:
    cards = [element["id"] for element in page.all("article")]
    assert cards == [f"row-{video.figures.row}" for video in judged]
    assert cards[0] == "row-6"
    strips = [image for image in page.all("img") if "crops of" in image["alt"]]
    assert len(strips) == 12 and "8 crops of row 6 · " in strips[0]["alt"]
    encoded = strips[0]["src"].removeprefix("data:image/webp;base64,")
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (256, 1024, 3) and picture.std() > 10
    drawings = [d for d in page.all("svg") if d.get("role") == "img"]
    assert len(drawings) == 12 and all(d["aria-label"] for d in drawings)
    assert len(page.all("polyline")) == 3 * 12
    assert {link["href"] for link in page.all("a")} >= {f"#{card}" for card in cards}


def test_tables_and_pictures_are_accessible(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert all(header.get("scope") in ("col", "row") for header in page.all("th"))
    assert all(image.get("alt") for image in page.all("img"))


def test_nothing_tells_who_is_shown(page: Page, small_store: ClipStore, judged, tmp_path) -> None:
    written(tmp_path / "report.html", small_store, judged)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    for column in ("video", "patient_id", "site"):
        for name in small_store.videos[column].unique():
            assert not re.search(rf"\b{re.escape(name)}\b", source), name
    assert str(small_store.url) not in source
    assert video_name(12, "3fa9c2d1" + 8 * "0") == "row 12 · 3fa9c2d1"


def test_what_comes_from_a_file_is_escaped(small_store: ClipStore, judged, tmp_path) -> None:
    evil = "<script>alert(1)</script>"
    videos = [JudgedVideo(replace(v.figures, label=evil), v.flags) for v in judged]
    page = written(tmp_path / "r.html", small_store, videos, recipe={evil: evil})
    assert not page.all("script") and evil in page.text


def test_everything_that_can_be_known_of_a_frame_is_drawn_and_explained(tmp_path) -> None:
    facts = facts_of(1, 20)
    presence = np.repeat(np.arange(len(Presence), dtype=np.uint8), 6)
    url = str(tmp_path / "s.zarr")
    writer = StoreWriter(url, {"size": 32}, {})
    writer.write(facts, presence, moving_square(20, size=32, step=1, seed=0))
    key = video_key(facts.source_sha256)
    row = {"video": "v.mp4", "patient_id": "P", "label": "ASD", "key": key}
    writer.finish([row], [])
    store = ClipStore(url)
    videos = judge(list(quality_figures(store, [2])), size=32, margin=0.15)
    page = written(tmp_path / "report.html", store, videos)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    bars = Counter(bar["class"] for bar in page.all("rect"))
    assert bars == {
        f"fill-{name}": 2  # in the legend and in the drawing
        for name in ("seen", "bridged", "left-out", "nearby", "absent")
    }
    assert all(f".{name} {{ fill:" in source for name in bars)
    meanings = re.findall(r"<title>(.+?)</title></rect>", source)
    assert len(set(meanings)) == len(Presence)
    assert all(page.text.count(meaning) >= 2 for meaning in meanings)


def test_a_figure_that_a_video_does_not_have_is_no_number(
    small_store: ClipStore, judged, tmp_path
) -> None:
    """A video without masks has no speed of the body, and none to put into a median."""
    speeds = {"ASD": iter([nan, 3.0, nan, 1.0, 2.0, nan]), "non_ASD": repeat(nan)}
    videos = [
        v._replace(figures=replace(v.figures, body_flow_px=next(speeds[v.figures.label])))
        for v in judged
    ]
    page = written(tmp_path / "report.html", small_store, videos)
    text = " ".join(page.text.split())
    assert re.search(r" ASD 6 6 0 \d+ 1\.2 s 25 90 % 1\.00 \S+ % 2\.00 px", text)
    assert re.search(r" non_ASD 6 6 0 \d+ 1\.2 s 25 90 % 1\.00 \S+ % - ", text)
    assert not re.search(r"\bnan\b", text.split("What the columns mean")[0])


def test_without_any_stored_video_the_exclusions_are_reported(tmp_path) -> None:
    exclusions = [Exclusion(2, "ASD", "it is truncated"), Exclusion(3, "DHS", "no person found")]
    page = written(tmp_path / "report.html", None, [], exclusions=exclusions)
    text = " ".join(page.text.split())
    assert "0 of 2 videos" in text and "3 DHS no person found" in text
    assert "ASD 0 0 1 0 - -" in text
    assert not page.all("article")


@pytest.mark.slow
def test_a_large_cohort_shows_some_with_pictures_and_all_in_the_table(
    small_store: ClipStore, judged, tmp_path
) -> None:
    """Twelve stored videos stand for 2,000: figures are per row, pictures come from the store."""
    many = [
        JudgedVideo(replace(video.figures, row=2 + 12 * turn + place), video.flags)
        for turn in range(167)
        for place, video in enumerate(judged)
    ]
    many.sort(key=lambda video: -video.severity)
    page = written(tmp_path / "report.html", small_store, many)
    size = (tmp_path / "report.html").stat().st_size
    print(f"{len(many)} videos: {size / 1e6:.1f} MB")
    assert len(page.all("article")) == WORST + SAMPLE
    text = " ".join(page.text.split())
    assert f"The {WORST} videos with the most severe flags, the worst first" in text
    assert f"{SAMPLE} of the {len(many) - WORST} others" in text
    assert all(f"row {row} · " in text for row in range(2, 2 + len(many)))
    assert size < 8e6
