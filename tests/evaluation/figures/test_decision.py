import numpy as np
import pytest

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.decision_curve import decision_curve
from asd_experiments.evaluation.figures.decision import decision_figure
from asd_experiments.evaluation.figures.style import figure_to_array

from ..builders import CLASSES, THREE, random_table


def curve(classes=CLASSES):
    cases = Predictions(random_table(classes, 30, 1.0), classes, "ASD").cases("test", "patient")
    return decision_curve(cases)


def legend_texts(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_two_classes_have_one_curve_beside_treating_all_and_nobody():
    table = curve()
    figure = decision_figure(table, "Test")
    assert legend_texts(figure) == ["treat nobody", "treat all (thin)", "by the model"]
    (line,) = [ln for ln in figure.axes[0].lines if ln.get_label() == "by the model"]
    expected = table[table["strategy"] == "model"]
    assert line.get_ydata().tolist() == expected["net_benefit"].tolist()
    assert line.get_xdata()[[0, -1]].tolist() == [0.01, 0.99]


def test_the_best_benefit_is_in_the_picture_and_the_worst_loss_need_not_be():
    table = curve()
    low, high = decision_figure(table, "Test").axes[0].get_ylim()
    assert table["net_benefit"].max() < high
    assert table["net_benefit"].min() < low < 0


def test_three_classes_have_a_curve_each():
    texts = legend_texts(decision_figure(curve(THREE), "Test"))
    assert texts[2:] == [f"by the model: {name} vs rest" for name in THREE]


def test_without_a_curve_it_says_so():
    figure = decision_figure(curve().iloc[:0], "Test")
    assert legend_texts(figure) == ["undefined, a class is missing"]
    assert figure_to_array(figure).std() > 0


@pytest.mark.parametrize("classes", [CLASSES, THREE])
def test_the_legend_stands_below_the_axes(classes):
    figure = decision_figure(curve(classes), "Test, 30 patients")
    figure_to_array(figure)
    legend = figure.legends[0].get_window_extent()
    assert legend.y0 >= 0 and legend.y1 <= figure.axes[0].xaxis.label.get_window_extent().y0
    assert np.isfinite(legend.extents).all()
