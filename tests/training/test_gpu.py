"""Training on a GPU: what only a card can show."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asd_experiments.data.clips import ClipDataset
from asd_experiments.models.memory_layout import move
from asd_experiments.training.batch_size import _try_out, find_batch_size
from asd_experiments.training.cross_validation import CrossValidation
from asd_experiments.training.fit import precision
from asd_experiments.training.prediction import score_clips
from asd_experiments.training.sampling import ordered_loader
from tests.training.builders import SMALL, CrashError, crash_at, ignore

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

CONFIG = replace(
    SMALL,
    backbone="r2plus1d_18",
    size=64,
    width=0.25,
    epochs=8,
    patience=8,
    dropout=0.5,
    device="gpu",
)


def logits_of(result):
    probabilities = result.predictions[["probability_ASD", "probability_non_ASD"]].to_numpy()
    return np.log(probabilities[:, 0] / probabilities[:, 1])


@pytest.mark.parametrize(
    "changes",
    [{}, {"backbone": "slow_50", "fusion": "lateral"}, {"gradient_checkpointing": True}],
)
def test_a_fold_is_trained_in_bfloat16_and_repeats(small_store, tmp_path, changes):
    """From its start as after an interruption, and not because it says the same of every clip."""
    config = replace(CONFIG, **changes)
    assert precision(config) == "bf16-mixed"
    validation = CrossValidation(config, small_store)
    whole, again = (validation.fit(0, ignore) for _ in range(2))
    assert {p.dtype for p in whole.network.parameters()} == {torch.float32}
    with pytest.raises(CrashError):
        validation.fit(0, crash_at(4), tmp_path)
    resumed = validation.fit(0, ignore, tmp_path)
    logits = logits_of(whole)
    assert logits.std() > 0.05
    for other in (again, resumed):
        losses, expected = (
            [figures["train/clip/loss"] for figures in result.history] for result in (other, whole)
        )
        assert losses == pytest.approx(expected, rel=0.02)
        assert other.best_epoch == whole.best_epoch
        assert np.abs(logits_of(other) - logits).max() < 0.1 * logits.std()


def test_a_card_and_a_processor_say_the_same_with_the_same_network(small_store):
    """Convolutions on the card are in TF32: ten bits, an error of 0.05 % in each product."""
    validation = CrossValidation(CONFIG, small_store)
    network = validation.fit(0, ignore).network
    data = ClipDataset(
        small_store,
        validation.clips,
        classes=validation.classes,
        clip_length=CONFIG.clip_length,
        size=CONFIG.size,
        segmentation=True,
    )
    (clips,) = ordered_loader(replace(CONFIG, batch_size=len(data)), data)
    logits = []
    for device in ("cuda", "cpu"):
        move(network, device)
        logits.append(score_clips(network, clips, device).fused.cpu())
    on_card, on_processor = logits
    spread = on_processor.std(dim=0)
    assert spread.min() > 0.1
    assert ((on_card - on_processor).abs() < 0.02 * spread).all()


def test_the_batch_found_fits_and_twice_as_many_do_not(small_store):
    total = torch.cuda.get_device_properties(0).total_memory
    config = replace(CONFIG, width=1.0, size=112, clip_length=16)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(4 * 2**30 / total)
    try:
        found = find_batch_size(config, num_clips=10_000, num_classes=2)
        assert found >= 2
        _try_out(config, found, 2)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            _try_out(config, 2 * found, 2)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
