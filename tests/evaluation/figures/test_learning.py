import pandas as pd
import pytest

from asd_experiments.evaluation.figures.learning import learning_figure
from asd_experiments.evaluation.figures.style import figure_to_array


def history(num_folds: int, num_epochs: int) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (fold, epoch, 1 / epoch, 0.2 + 1 / epoch, epoch == min(2, num_epochs))
            for fold in range(num_folds)
            for epoch in range(1, num_epochs + 1)
        ],
        columns=["fold", "epoch", "train_loss", "val_loss", "is_best"],
    )


@pytest.mark.parametrize(("num_folds", "num_epochs"), [(5, 6), (2, 3), (5, 1), (12, 4)])
def test_every_fold_has_its_losses_and_the_epoch_that_was_kept(num_folds, num_epochs):
    figure = learning_figure(history(num_folds, num_epochs), "Learning curves")
    assert [axes.get_title() for axes in figure.axes] == [
        f"fold {number}" for number in range(1, num_folds + 1)
    ]
    for axes in figure.axes:
        train, val, best = axes.lines
        assert len(train.get_xdata()) == len(val.get_xdata()) == num_epochs
        epoch = min(2, num_epochs)
        assert (best.get_xdata()[0], best.get_ydata()[0]) == (epoch, 0.2 + 1 / epoch)
        low, high = axes.get_ylim()
        assert low == 0 and high > max(val.get_ydata())
    assert figure_to_array(figure).std() > 0


def test_the_legend_hides_nothing():
    figure = learning_figure(history(5, 6), "Learning curves")
    figure_to_array(figure)
    legend = figure.legends[0].get_window_extent()
    assert all(legend.y1 <= axes.xaxis.label.get_window_extent().y0 for axes in figure.axes[-2:])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["train clips", "val patients", "epoch kept"]
