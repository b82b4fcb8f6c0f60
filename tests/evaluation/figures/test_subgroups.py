import numpy as np
import pandas as pd
import pytest

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.figures.style import figure_to_array
from asd_experiments.evaluation.figures.subgroups import subgroup_figure
from asd_experiments.evaluation.subgroups import subgroup_table

from ..builders import CLASSES, THREE, random_table


def table_of(classes: list[str], num_patients: int) -> pd.DataFrame:
    predictions = Predictions(random_table(classes, num_patients, 1.0), classes, "ASD")
    videos = predictions.table.drop_duplicates("video")[["video", "patient_id", "label"]]
    number = np.arange(len(videos))
    names = {"a_column_with_quite_a_long_name_of_its_own": number % 2, "disease": videos["label"]}
    return subgroup_table(predictions, videos.assign(site=number // 4 * 1.0, **names))


@pytest.mark.parametrize("classes", [CLASSES, THREE])
@pytest.mark.parametrize("num_patients", [15, 81])
def test_rows_are_named_and_nothing_is_cut_off(classes, num_patients):
    table = table_of(classes, num_patients)
    figure = subgroup_figure(table, "Subgroups")
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names[0] == f"all patients (n = {num_patients})"
    assert names.count("disease") == 1 and len(names) == len(table) + table["column"].nunique() - 1
    figure_to_array(figure)
    assert all(t.get_window_extent().x0 >= 0 for t in figure.axes[0].get_yticklabels())


def test_small_groups_are_hollow_and_explained():
    table = table_of(CLASSES, 15)
    figure = subgroup_figure(table, "Subgroups")
    marks = [line for line in figure.axes[1].lines if line.get_marker() == "s"]
    hollow = [mark.get_markerfacecolor() == "white" for mark in marks]
    assert hollow == table["is_small"].tolist()
    assert "hollow: fewer than 5 patients" in figure.get_supxlabel().replace("\n", " ")


def test_a_level_of_one_class_has_a_star():
    figure = subgroup_figure(table_of(CLASSES, 81), "Subgroups")
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert "ASD* (n = 41)" in names
    assert "*: one class" in figure.get_supxlabel()


def test_points_and_bars_are_those_of_the_table():
    table = table_of(CLASSES, 81)
    axes = subgroup_figure(table, "Subgroups").axes[0]
    marks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "s"]
    assert marks == table["auroc"].dropna().tolist()
    bars = [list(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 1.8]
    assert bars[0] == table[["auroc_ci_low", "auroc_ci_high"]].iloc[0].tolist()
