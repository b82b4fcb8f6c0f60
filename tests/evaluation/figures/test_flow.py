import pandas as pd
import pytest
from matplotlib.figure import Figure

from asd_experiments.evaluation.figures.flow import flow_figure
from asd_experiments.evaluation.figures.style import figure_to_array
from asd_experiments.evaluation.participant_flow import COLUMNS

CLASSES = ["ASD", "a class whose name is very long indeed"]


def flow(num_folds: int = 5, reasons: int = 1, patients: int | None = 1) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for label in CLASSES:
        counts = {"label": label, "patients": 40, "videos": 1000}
        rows.append({"stage": "labels", **counts})
        rows.append({"stage": "stored", **counts, "clips": 12345})
        for fold in range(num_folds):
            for split in ("train", "val", "test"):
                rows.append({"stage": split, "fold": fold, **counts, "clips": 2000})
    for number in range(reasons):
        left_out = {"label": "ASD", "reason": f"reason {number} " * 9, "videos": reasons - number}
        rows.append({"stage": "excluded", **left_out, "patients": patients})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(("fold", "patients", "videos", "clips"), "Int64"))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("num_folds", [2, 5, 10, 81])
@pytest.mark.parametrize("reasons", [0, 1, 9])
def test_nothing_is_cut_off(num_folds, reasons):
    figure = flow_figure(flow(num_folds, reasons), "Participants")
    figure_to_array(figure)
    for text in figure.axes[0].texts:
        if text.get_text():
            place = text.get_window_extent()
            assert place.x0 >= 0 and place.x1 <= figure.bbox.x1
            assert place.y0 >= 0 and place.y1 <= figure.bbox.y1


def test_boxes_say_what_is_in_them():
    shown = texts(flow_figure(flow(), "Participants"))
    assert "80 patients, 2,000 videos" in shown
    assert "80 patients, 2,000 videos, 24,690 clips" in shown
    assert "ASD: 40 patients, 1,000 videos, 12,345 clips" in shown
    assert "1 video, 1 patient wholly" in shown
    assert "80 (40/40)\n4,000 clips" in shown


def test_the_commonest_reasons_are_named_and_the_others_counted():
    shown = texts(flow_figure(flow(reasons=9), "Participants"))
    assert [text for text in shown if text.startswith("9: reason 0")]
    assert "21: 6 other reasons" in shown


def test_patients_are_not_named_where_they_are_not_known():
    shown = texts(flow_figure(flow(patients=None), "Participants"))
    assert "1 video" in shown


def test_of_many_folds_the_first_are_drawn():
    shown = texts(flow_figure(flow(81), "Participants"))
    assert "fold 9" in shown and "fold 10" not in shown
    assert any(text.startswith("and 72 folds more") for text in shown)


def test_none_left_out_is_said():
    assert "None left out" in texts(flow_figure(flow(reasons=0), "Participants"))
