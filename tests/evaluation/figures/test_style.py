import re
import sys

import numpy as np
import pytest

from asd_experiments.evaluation.figures.confusion import confusion_figure
from asd_experiments.evaluation.figures.style import (
    MOST_PANELS,
    cut,
    figure_to_array,
    figure_to_svg,
    new_panels,
)

from ..builders import CLASSES


def test_array_is_an_rgb_picture_without_pyplot():
    loaded = "matplotlib.pyplot" in sys.modules
    array = figure_to_array(confusion_figure(np.array([[9, 0], [0, 9]]), CLASSES, "Test"))
    assert array.dtype == np.uint8
    assert array.shape == (750, 900, 3)
    blue = (array == np.array([0x00, 0x72, 0xB2], dtype=np.uint8)).all(axis=2).mean()
    assert blue > 0.1  # two of four cells
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_svg_keeps_text_as_text_and_is_the_same_every_time():
    texts = [
        figure_to_svg(confusion_figure(np.array([[9, 0], [0, 9]]), CLASSES, "Test"))
        for _ in range(2)
    ]
    assert texts[0] == texts[1]
    assert ">non-ASD</text>" in texts[0]
    assert "sans-serif" in texts[0]  # where the font is not installed


def test_svg_after_the_picture_has_everything_in_the_same_place():
    def place(text: str) -> list[float]:
        found = re.search(r'x="([\d.]+)" y="([\d.]+)"[^>]*>predicted</text>', text)
        assert found
        return [float(number) for number in found.groups()]

    first, second = (confusion_figure(np.eye(2, dtype=int), CLASSES, "Test") for _ in range(2))
    figure_to_array(second)
    assert place(figure_to_svg(second)) == pytest.approx(place(figure_to_svg(first)), abs=2)


@pytest.mark.parametrize("num_panels", [1, 2, 5, MOST_PANELS])
def test_the_lowest_panels_of_every_column_name_their_axis(num_panels):
    _, panels = new_panels("Title", [f"fold {n}" for n in range(num_panels)], x="epoch")
    assert len(panels) == num_panels
    named = [axes.get_xlabel() == "epoch" for axes in panels]
    assert named == [number + min(3, num_panels) >= num_panels for number in range(num_panels)]


def test_long_texts_are_cut_to_one_line():
    assert cut("short", 10) == "short"
    assert cut("rather long text", 8) == "rather…"
    assert len(cut("x" * 20, 8)) == 8
