"""Learning curves."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from asd_experiments.evaluation.figures.style import (
    COLOURS,
    LABEL_PT,
    ROUND,
    TICK_PT,
    Style,
    new_panels,
    plain_frame,
)

_LABELS = {"train": "train clips", "val": "val patients"}


def learning_figure(history: pd.DataFrame, title: str) -> Figure:
    """Draw the training and the validation loss of every fold over its epochs.

    The epoch whose weights were kept is marked. All folds have the same axes.

    Args:
        history: One row per fold and epoch: fold (from 0), epoch (from 1), train_loss, val_loss
            and is_best.
        title: Heading.
    """
    folds = sorted(history["fold"].unique())
    names = [f"fold {fold + 1}" for fold in folds]
    figure, panels = new_panels(title, names, x="epoch", height_in=2.1)
    for axes, fold in zip(panels, folds, strict=True):
        own = history[history["fold"] == fold].sort_values("epoch")
        style: Style = {"marker": "." if len(own) == 1 else ""}  # one epoch makes no line
        for name, ink, line in (("train", COLOURS[1], "--"), ("val", COLOURS[0], "-")):
            loss = own[f"{name}_loss"]
            axes.plot(own["epoch"], loss, line, color=ink, label=_LABELS[name], **style)
        best = own[own["is_best"]]
        axes.plot(best["epoch"], best["val_loss"], color=COLOURS[0], label="epoch kept", **ROUND)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        plain_frame(axes)
    losses = history[["train_loss", "val_loss"]].to_numpy(dtype=float)
    highest = float(losses[np.isfinite(losses)].max(initial=1.0))
    panels[0].set(xlim=(0.5, history["epoch"].max() + 0.5), ylim=(0, 1.08 * highest))
    figure.supylabel("loss", fontsize=LABEL_PT)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=TICK_PT)
    return figure
