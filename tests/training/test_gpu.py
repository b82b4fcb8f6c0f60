"""Training on a GPU: what only a card can show."""

from dataclasses import replace

import pytest
import torch

from asd_experiments.config import TrialConfig
from asd_experiments.training.batch_size import _try_out, find_batch_size
from asd_experiments.training.cross_validation import CrossValidation
from asd_experiments.training.fit import precision

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

CONFIG = TrialConfig(
    store="unused",
    backbone="r2plus1d_18",
    clip_length=8,
    size=64,
    width=0.25,
    folds=3,
    inner_folds=3,
    epochs=3,
    batch_size=4,
    device="gpu",
    loader_workers=0,
)


class CrashError(Exception):
    pass


def scores_of(result):
    return result.predictions.filter(like="probability_").to_numpy()


@pytest.mark.parametrize(
    "changes",
    [{}, {"backbone": "slow_50", "fusion": "lateral"}, {"gradient_checkpointing": True}],
)
def test_a_fold_is_trained_in_bfloat16_and_repeats(small_store, tmp_path, changes):
    config = replace(CONFIG, **changes)
    assert precision(config) == "bf16-mixed"
    validation = CrossValidation(config, small_store)
    whole = validation.fit(0, lambda *_: None)
    assert {p.dtype for p in whole.network.parameters()} == {torch.float32}

    def crash(epoch, figures):
        if epoch == 2:
            raise CrashError

    with pytest.raises(CrashError):
        validation.fit(0, crash, tmp_path)
    resumed = validation.fit(0, lambda *_: None, tmp_path)
    losses, expected = (r.history[-1]["train/clip/loss"] for r in (resumed, whole))
    assert losses == pytest.approx(expected, rel=0.02)
    assert scores_of(resumed) == pytest.approx(scores_of(whole), abs=0.02)


def test_a_card_and_a_processor_predict_the_same(small_store):
    results = [
        CrossValidation(
            replace(CONFIG, precision="32-true", epochs=1, device=device), small_store
        ).fit(0, lambda *_: None)
        for device in ("gpu", "cpu")
    ]
    on_card, on_processor = map(scores_of, results)
    assert on_card == pytest.approx(on_processor, abs=0.02)


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
