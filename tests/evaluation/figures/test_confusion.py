import numpy as np
import pytest

from asd_experiments.evaluation.confusion import confusion_counts
from asd_experiments.evaluation.figures.confusion import confusion_by_fold_figure, confusion_figure
from asd_experiments.evaluation.figures.style import figure_to_array

from ..builders import CLASSES, THREE, decided_at, random_table

HALF = dict.fromkeys(range(5), 0.5)


def test_confusion_figure_shows_counts_and_row_percentages():
    figure = confusion_figure(np.array([[3, 1], [0, 0]]), CLASSES, "Test, 4 patients")
    axes = figure.axes[0]
    cells = {(int(t.get_position()[0]), int(t.get_position()[1])): t.get_text() for t in axes.texts}
    # Position is (column, row): x is predicted, y is true.
    assert cells == {
        (0, 0): "3\n75%",
        (1, 0): "1\n25%",
        (0, 1): "0\nno case",
        (1, 1): "0\nno case",
    }
    assert [t.get_text() for t in axes.get_xticklabels()] == CLASSES
    assert [t.get_text() for t in axes.get_yticklabels()] == ["ASD\n(n = 4)", "non-ASD\n(n = 0)"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert axes.get_title() == "Test, 4 patients"


def test_confusion_figure_refuses_another_number_of_classes():
    with pytest.raises(ValueError, match=r"one row and column per class \(3\), got \(2, 2\)"):
        confusion_figure(np.eye(2, dtype=int), THREE, "")


def test_long_class_names_are_shortened():
    names = ["a very long name of a disease, not otherwise specified", "b"]
    figure = confusion_figure(np.eye(2, dtype=int), names, "")
    (name, _) = (t.get_text() for t in figure.axes[0].get_xticklabels())
    assert name == "a very long name\nof a disease,…"


@pytest.mark.parametrize("classes", [CLASSES, THREE, ["ASD", "DHS", "LCS", "HipOA"]])
def test_every_fold_has_a_panel_and_all_folds_the_last(classes):
    table = random_table(classes, 30, 1.0)
    cases = decided_at(HALF, table, classes).cases("test", "patient")
    figure = confusion_by_fold_figure(cases, "Test patients")
    titles = [axes.get_title() for axes in figure.axes]
    sizes = [len(own) for _, own in cases.by_fold()]
    folds = [f"fold {number} (n = {size})" for number, size in enumerate(sizes, start=1)]
    assert titles == [*folds, "all folds (n = 30)"]
    assert figure.get_suptitle() == "Test patients"
    for axes, (_, own) in zip(figure.axes, cases.by_fold(), strict=False):
        shown = [int(text.get_text().split("\n")[0]) for text in axes.texts]
        assert shown == confusion_counts(own).ravel().tolist()
    assert figure_to_array(figure).std() > 0
