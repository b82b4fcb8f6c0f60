from dataclasses import replace

import pandas as pd
import pytest
import torch

from asd_experiments.config import TrialConfig
from asd_experiments.data.clips import ClipDataset, Drawn, InOrder, list_clips
from asd_experiments.training.sampling import (
    clip_weights,
    loss_weights,
    ordered_loader,
    training_loader,
)

CLIPS = pd.DataFrame({"patient_id": list("abbbcc"), "label": ["ASD"] * 4 + ["other"] * 2})
CLASSES = ["ASD", "other"]
CONFIG = TrialConfig(store="unused", batch_size=2, loader_workers=0)


def test_every_class_counts_the_same_and_every_patient_within_it():
    """Two ASD patients with 1 and 3 clips, one other with 2: each class weighs half."""
    weights = clip_weights(CLIPS, CLASSES)
    assert weights.tolist() == pytest.approx([1.5, 0.5, 0.5, 0.5, 1.5, 1.5])


def test_balanced_draws_show_classes_and_patients_equally_often():
    """Of 6 x 2,000 draws a quarter is each ASD patient's and half the other's; SD 0.4 %."""
    sampler = Drawn(clip_weights(CLIPS, CLASSES), augment=True, seed=0)
    rows = []
    for epoch in range(2000):
        sampler.set_epoch(epoch)
        rows += [row for row, _ in sampler]
    share = CLIPS["patient_id"].iloc[rows].value_counts(normalize=True)
    assert share.to_dict() == pytest.approx({"a": 0.25, "b": 0.25, "c": 0.5}, abs=0.015)
    assert len(sampler) == 6


@pytest.mark.parametrize("balance", ["weights", "sampler", "none"])
def test_balancing_is_done_once_or_not_at_all(small_store, balance):
    config = replace(CONFIG, balance=balance)
    clips = list_clips(small_store.videos, clip_length=8, clip_stride=8).iloc[:-4]
    classes = ["ASD", "non_ASD"]
    data = ClipDataset(
        small_store, clips, classes=classes, clip_length=8, size=32, segmentation=True
    )
    weights = loss_weights(
        config, clips.assign(label=["ASD"] * 6 + ["non_ASD"] * (len(clips) - 6)), classes
    )
    loader = training_loader(config, data, clips, classes, seed=0)
    assert isinstance(loader.sampler, Drawn) == (balance == "sampler")
    assert torch.equal(weights, torch.ones(len(clips))) == (balance != "weights")


def test_validation_clips_are_never_drawn(small_store):
    config = replace(CONFIG, balance="sampler")
    clips = list_clips(small_store.videos, clip_length=8, clip_stride=8)
    data = ClipDataset(
        small_store, clips, classes=["ASD", "non_ASD"], clip_length=8, size=32, segmentation=True
    )
    assert isinstance(ordered_loader(config, data).sampler, InOrder)
