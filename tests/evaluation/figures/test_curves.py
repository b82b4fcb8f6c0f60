import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score

from asd_experiments.evaluation.bands import precision_recall_band, roc_band
from asd_experiments.evaluation.figures.curves import precision_recall_figure, roc_figure
from asd_experiments.evaluation.figures.style import figure_to_array
from asd_experiments.evaluation.predictions import select_units

from ..builders import CLASSES, THREE, cases_of, random_table, two_class_table


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line_named(figure: Figure, start: str):
    (line,) = [ln for ln in figure.axes[0].lines if str(ln.get_label()).startswith(start)]
    return line


def marks(figure: Figure, size: float) -> np.ndarray:
    """Where the round marks of a size are, one (x, y) a row."""
    rounds = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    return np.concatenate([ln.get_xydata() for ln in rounds if ln.get_markersize() == size])


def small_table():
    """The pooled AUROC is 5 of 6: only a loses against c."""
    return two_class_table(
        [
            (0, "a", "ASD", 0.4),
            (0, "b", "ASD", 0.9),
            (0, "c", "non-ASD", 0.6),
            (1, "d", "ASD", 0.8),
            (1, "e", "non-ASD", 0.3),
        ]
    )


def test_roc_figure_of_two_classes():
    figure = roc_figure(cases_of(small_table()), "Test, 5 patients")
    axes = figure.axes[0]
    assert axes.get_title() == "Test, 5 patients"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("1 - specificity", "sensitivity")
    texts = legend_texts(figure)
    assert texts[:2] == ["chance", "single folds"]
    assert texts[2].startswith("pooled: AUROC 0.83 (95 % CI 0.")
    assert texts[3:] == ["decision at each fold's own threshold"]
    pooled = line_named(figure, "pooled")
    assert pooled.get_xydata().tolist() == pytest.approx(
        np.array([[0, 0], [0, 1 / 3], [0, 2 / 3], [0.5, 2 / 3], [0.5, 1], [1, 1]])
    )
    thin = [ln for ln in axes.lines if ln.get_linewidth() == 1 and ln.get_linestyle() == "-"]
    assert len([ln for ln in thin if len(ln.get_xdata())]) == 2


def test_roc_figure_marks_the_decisions():
    figure = roc_figure(cases_of(small_table(), thresholds={0: 0.5, 1: 0.2}), "")
    # Fold 0 finds b, misses a, calls c positive. Fold 1 calls d and e positive.
    assert marks(figure, 5) == pytest.approx(np.array([[1.0, 0.5], [1.0, 1.0]]))
    assert marks(figure, 9) == pytest.approx(np.array([[1.0, 2 / 3]]))


def test_precision_recall_figure_of_two_classes():
    rows = random_table(CLASSES, 20, 0.7)
    rows = select_units(rows, "test", "clip")
    figure = precision_recall_figure(cases_of(rows), "Test")
    average = average_precision_score(rows["label"] == "ASD", rows["probability_ASD"])
    assert legend_texts(figure) == [
        "single folds",
        "prevalence 0.50",
        f"pooled: average precision {average:.2f}",
        "decision at each fold's own threshold",
    ]
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall (sensitivity)", "precision")
    pooled = line_named(figure, "pooled")
    area = np.diff(pooled.get_xdata()) @ pooled.get_ydata()[1:]
    assert area == pytest.approx(average)
    assert pooled.get_drawstyle() == "steps-pre"
    positive = rows["probability_ASD"] >= 0.5
    hits = (positive & (rows["label"] == "ASD")).sum()
    assert marks(figure, 9) == pytest.approx(np.array([[hits / 30, hits / positive.sum()]]))


def test_cases_that_were_not_made_in_folds_have_one_curve_and_one_threshold():
    rows = small_table()
    rows["fold"] = 0
    cases = cases_of(rows, thresholds={0: 0.35})
    for figure in (roc_figure(cases, ""), precision_recall_figure(cases, "")):
        texts = legend_texts(figure)
        assert not [text for text in texts if "fold" in text or "pooled" in text]
        assert texts[-1] == "decision at the threshold 0.35"
        assert 5.0 not in {
            line.get_markersize() for line in figure.axes[0].lines if line.get_marker() == "o"
        }


def test_prevalence_line_lies_at_the_share_of_positives():
    figure = precision_recall_figure(cases_of(small_table()), "")
    dashed = [ln for ln in figure.axes[0].lines if ln.get_linestyle() == "--"]
    assert [list(ln.get_ydata()) for ln in dashed if len(ln.get_ydata())] == [[0.6, 0.6]]


def test_three_classes_have_one_curve_each():
    rows = select_units(random_table(THREE, 30, 1.0), "test", "patient")
    figure = roc_figure(cases_of(rows, THREE), "")
    assert figure.legends[0].get_title().get_text().startswith("macro AUROC 0.")
    texts = legend_texts(figure)
    assert [text.split(":")[0] for text in texts] == [
        "chance",
        "ASD vs rest",
        "DHS vs rest",
        "LCS vs rest",
        "most probable class",
    ]
    styles = {line_named(figure, f"{name} vs").get_linestyle() for name in THREE}
    assert len(styles) == 3  # curves that coincide can be told apart
    figure = precision_recall_figure(cases_of(rows, THREE), "")
    assert [text.split(": ")[0] for text in legend_texts(figure)[:3]] == [
        f"{name} vs rest" for name in THREE
    ]
    assert all(text.endswith("(prevalence 0.33)") for text in legend_texts(figure)[:3])


@pytest.mark.parametrize("draw", [roc_figure, precision_recall_figure])
def test_one_class_is_drawn_and_called_undefined(draw):
    rows = small_table()
    figure = draw(cases_of(rows[rows["label"] == "ASD"]), "")
    assert any("undefined, a class is missing" in text for text in legend_texts(figure))
    assert figure_to_array(figure).std() > 0


def test_too_few_groups_for_an_interval_is_said():
    rows = two_class_table([(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.1)])
    texts = legend_texts(roc_figure(cases_of(rows), ""))
    assert "AUROC 1.00 (too few groups for an interval)" in texts


@pytest.mark.parametrize("draw", [roc_figure, precision_recall_figure])
@pytest.mark.parametrize("classes", [CLASSES, THREE, ["ASD", "DHS", "LCS", "HipOA", "other"]])
def test_nothing_is_drawn_beyond_the_picture_or_on_top_of_the_axes(draw, classes):
    rows = select_units(random_table(classes, 30, 1.0), "test", "patient")
    figure = draw(cases_of(rows, classes), "Test, 30 patients")
    figure_to_array(figure)
    picture = figure.bbox
    axes, legend = figure.axes[0], figure.legends[0]
    label = axes.xaxis.label.get_window_extent()
    title = axes.title.get_window_extent()
    assert picture.y0 <= legend.get_window_extent().y0
    assert legend.get_window_extent().y1 <= label.y0
    assert title.y1 <= picture.y1
    assert picture.x0 <= axes.yaxis.label.get_window_extent().x0


@pytest.mark.parametrize("classes", [CLASSES, THREE])
@pytest.mark.parametrize(
    ("draw", "band_of"), [(roc_figure, roc_band), (precision_recall_figure, precision_recall_band)]
)
def test_bands_are_shaded_and_explained_once(draw, band_of, classes):
    rows = select_units(random_table(classes, 30, 1.0), "test", "patient")
    cases = cases_of(rows, classes)
    figure = draw(cases, "", band_of(cases, num_resamples=50))
    text = "95 % interval at each point (bootstrap over groups)"
    assert legend_texts(figure).count(text) == 1
    shades = [area for area in figure.axes[0].collections if area.get_paths()]
    assert len(shades) == (1 if len(classes) == 2 else 3)


def test_without_a_band_none_is_explained():
    cases = cases_of(two_class_table([(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.1)]))
    figure = roc_figure(cases, "", roc_band(cases))
    assert not any("interval at each point" in text for text in legend_texts(figure))
