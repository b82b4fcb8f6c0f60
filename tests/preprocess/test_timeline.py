import numpy as np
import pytest

from asd_experiments.data.store_layout import Presence
from preprocess.timeline import LEFT, RIGHT, WIDTH, Timeline, timeline


@pytest.fixture
def drawn() -> Timeline:
    """Source of 100 frames; stored are 10 to 29, and 50 to 59 further right and lower."""
    x = np.r_[np.linspace(100, 290, 20), np.full(10, 500.0)]
    y = np.r_[np.full(20, 80.0), np.full(10, 280.0)]
    windows = np.stack([x - 50, y - 50, x + 50, y + 50], axis=1).astype(np.float32)
    presence = np.full(100, Presence.ABSENT, np.uint8)
    presence[10:30], presence[50:60], presence[60:70] = 3, 2, 1
    return timeline(windows, [[10, 20], [50, 10]], presence, frame_rate_hz=25.0)


def points(line: str) -> np.ndarray:
    return np.array([point.split(",") for point in line.split()], float)


def test_lines_stand_where_their_frames_are(drawn: Timeline) -> None:
    first, second = map(points, drawn.panels[0].lines)
    inside = WIDTH - LEFT - RIGHT
    assert first[0, 0] == pytest.approx(LEFT + inside * 0.105, abs=0.1)
    assert second[-1, 0] == pytest.approx(LEFT + inside * 0.595, abs=0.1)
    assert len(first) == 20 and len(second) == 10
    assert (np.diff(first[:, 1]) < 0).all() and second[0, 1] < first[-1, 1]  # to the right: up


def test_what_is_lower_in_the_picture_is_lower_in_the_drawing(drawn: Timeline) -> None:
    first, second = map(points, drawn.panels[1].lines)
    assert second[0, 1] > first[0, 1]
    heights = {text: height for height, text in drawn.panels[1].ticks}
    assert heights["200"] > heights["100"]
    assert first[0, 1] < heights["100"]


def test_a_steady_crop_looks_steady(drawn: Timeline) -> None:
    first, second = map(points, drawn.panels[2].lines)
    assert set(first[:, 1]) == set(second[:, 1])
    assert "100" in [text for _, text in drawn.panels[2].ticks]


def test_presence_fills_the_time_axis(drawn: Timeline) -> None:
    states = [state for _, _, state in drawn.presence]
    assert states == [0, 3, 0, 2, 1, 0]
    assert drawn.presence[0][0] == LEFT
    ends = [left + width for left, width, _ in drawn.presence]
    assert ends[-1] == pytest.approx(WIDTH - RIGHT, abs=0.1)
    assert ends[:-1] == pytest.approx([left for left, _, _ in drawn.presence[1:]], abs=0.1)


def test_time_is_labelled_in_seconds(drawn: Timeline) -> None:
    assert drawn.seconds[0] == (LEFT, "0 s")
    assert drawn.seconds[-1] == (WIDTH - RIGHT, "4 s")


def test_a_long_line_is_thinned_to_its_ends() -> None:
    x = np.linspace(0, 900, 3000)
    windows = np.stack([x, 0 * x, x + 100, 0 * x + 100], axis=1).astype(np.float32)
    drawn = timeline(windows, [[0, 3000]], np.full(3000, 3, np.uint8), frame_rate_hz=25.0)
    line = points(drawn.panels[0].lines[0])
    assert len(line) == 200
    assert line[-1, 0] == pytest.approx(WIDTH - RIGHT, abs=0.2)
