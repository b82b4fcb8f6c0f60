"""Probabilities of clips: the one function behind test figures and the logged model."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from asd_experiments.data.clips import ClipDataset, ClipSample, InOrder
from asd_experiments.evaluation.predictions import probability_columns
from asd_experiments.interruption import leave_stopping_to_the_parent
from asd_experiments.models.fusion import Scores
from asd_experiments.models.memory_layout import move
from asd_experiments.models.two_stream import TwoStream


def predict_clips(
    network: TwoStream,
    dataset: ClipDataset,
    classes: list[str],
    *,
    batch_size: int,
    device: torch.device | str = "cpu",
    loader_workers: int = 0,
    by_stream: bool = True,
) -> pd.DataFrame:
    """Classify every clip of a data set, without augmentation and without mixed precision.

    All numbers have 32 bits; a GPU's convolutions compute with TF32 (10 bits of mantissa), as
    PyTorch lets them unless told otherwise.

    Args:
        network: Trained network; it is moved to `device` and left in evaluation mode.
        dataset: Clips, in order.
        classes: Labels in the order of the network's outputs.
        batch_size: Clips at a time.
        device: Where to compute.
        loader_workers: Processes that read clips.
        by_stream: Whether to say what each stream says by itself, which some fusions take two more
            passes for.

    Returns:
        One row per clip: `probability_<class>`, and `appearance_<class>` and `motion_<class>`
        of the streams that the network has.
    """
    (table,) = predict_by_each(
        [network],
        dataset,
        classes,
        batch_size=batch_size,
        device=device,
        loader_workers=loader_workers,
        by_stream=by_stream,
    )
    return table


def predict_by_each(
    networks: Sequence[TwoStream],
    dataset: ClipDataset,
    classes: list[str],
    *,
    batch_size: int,
    device: torch.device | str = "cpu",
    loader_workers: int = 0,
    by_stream: bool = True,
    before_batch: Callable[[], None] = lambda: None,
) -> list[pd.DataFrame]:
    """Classify every clip by each of several networks, reading it once; see `predict_clips`.

    `before_batch` is called before each of them sees a batch; what it raises ends the prediction.
    """
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=InOrder(len(dataset)),
        num_workers=min(loader_workers, len(dataset)),
        worker_init_fn=leave_stopping_to_the_parent,
    )
    for network in networks:
        move(network.eval(), device)
    tables: list[list[pd.DataFrame]] = [[] for _ in networks]
    for batch in loader:
        for network, parts in zip(networks, tables, strict=True):
            before_batch()
            scores = score_clips(network, batch, device, by_stream=by_stream)
            parts.append(_table(scores, classes))
    return [pd.concat(parts, ignore_index=True) for parts in tables]


def _table(scores: Scores, classes: list[str]) -> pd.DataFrame:
    columns = _stream_columns(scores.appearance, "appearance", classes)
    columns |= _stream_columns(scores.motion, "motion", classes)
    fused = dict(zip(probability_columns(classes), _softmax(scores.fused).T, strict=True))
    return pd.DataFrame(fused | columns)


def score_clips(
    network: TwoStream, batch: ClipSample, device: torch.device | str, *, by_stream: bool = True
) -> Scores:
    """Score one batch as `predict_clips` does.

    Args:
        network: Trained network, on `device` and in evaluation mode.
        batch: Clips, anywhere.
        device: Where to compute.
        by_stream: Whether to say what each stream says by itself.

    Returns:
        Scores of the classes, on `device`.
    """
    clips = batch["appearance"].to(device), batch["motion"].to(device)
    with torch.inference_mode():
        return network.scores_by_stream(*clips) if by_stream else network(*clips)


def _softmax(scores: Float[Tensor, "clip num_classes"]) -> Float[np.ndarray, "clip num_classes"]:
    return scores.double().softmax(dim=1).cpu().numpy()


def _stream_columns(
    scores: Float[Tensor, "clip num_classes"] | None, stream: str, classes: list[str]
) -> dict[str, np.ndarray]:
    if scores is None:
        return {}
    names = [f"{stream}_{name}" for name in classes]
    return dict(zip(names, _softmax(scores).T, strict=True))
