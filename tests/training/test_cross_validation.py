from dataclasses import replace

import numpy as np
import pytest
import torch

from asd_experiments.errors import InputError
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.metrics import evaluate
from asd_experiments.evaluation.predictions import check_predictions
from asd_experiments.models.pretrained import FittedWeights
from asd_experiments.training import cross_validation
from asd_experiments.training.callbacks import Reporter
from asd_experiments.training.cross_validation import CrossValidation, check_trial
from tests.training.builders import SMALL, ignore


@pytest.fixture(scope="module")
def result(small_store):
    return CrossValidation(SMALL, small_store).fit(0, ignore)


def test_a_fold_predicts_its_validation_and_test_clips_and_no_training_clip(small_store, result):
    validation = CrossValidation(SMALL, small_store)
    table = result.predictions
    check_predictions(table, validation.classes)
    assigned = validation.manifest[validation.manifest["fold"] == 0]
    for split in ("val", "test"):
        expected = set(assigned.loc[assigned["split"] == split, "patient_id"])
        assert set(table.loc[table["split"] == split, "patient_id"]) == expected
    assert len(table) == 2 * table["video"].nunique()  # 20 frames hold two clips of 8
    assert {"appearance_ASD", "motion_ASD"} <= set(table.columns)


def test_the_same_seed_gives_the_same_weights_and_predictions(small_store, result):
    again = CrossValidation(SMALL, small_store).fit(0, ignore)
    for name, weights in result.network.state_dict().items():
        assert torch.equal(weights, again.network.state_dict()[name]), name
    assert result.predictions.equals(again.predictions)


def test_reader_processes_change_nothing(small_store, result):
    config = replace(SMALL, loader_workers=2)
    again = CrossValidation(config, small_store).fit(0, ignore)
    assert result.predictions.equals(again.predictions)


def test_another_seed_gives_other_weights(small_store, result):
    other = CrossValidation(replace(SMALL, seed=1), small_store).fit(0, ignore)
    assert not result.predictions["probability_ASD"].equals(other.predictions["probability_ASD"])


def test_the_best_epoch_is_kept_not_the_last(small_store, monkeypatch):
    """Validation losses are dictated: the second epoch is best, two worse ones end the training."""
    losses = iter([0.9, 0.3, 0.5, 0.6, 0.7, 0.8])
    seen: list[dict[str, torch.Tensor]] = []
    validation = CrossValidation(replace(SMALL, epochs=6), small_store)

    def dictated(table, classes):
        return next(losses) if "video" not in table and "patient_id" in table else 1.0

    monkeypatch.setattr("asd_experiments.training.module.balanced_log_loss", dictated)
    original = Reporter.on_train_epoch_end

    def remember(self, trainer, module):
        seen.append({k: v.clone() for k, v in module.network.state_dict().items()})
        original(self, trainer, module)

    monkeypatch.setattr(Reporter, "on_train_epoch_end", remember)
    result = validation.fit(0, ignore)
    assert (result.best_epoch, result.epochs) == (2, 4)
    final = result.network.state_dict()
    assert all(torch.equal(final[name], seen[1][name]) for name in final)
    assert any(not torch.equal(final[name], seen[3][name]) for name in final)


def test_every_epoch_is_reported_with_its_losses(small_store):
    reports = []
    CrossValidation(SMALL, small_store).fit(1, lambda *report: reports.append(report))
    assert [epoch for epoch, _ in reports] == [1, 2]
    losses = {f"{place}/loss" for place in ("train/clip", "val/clip", "val/patient")}
    assert set(reports[0][1]) == losses | {"train/clip/objective"}
    assert all(np.isfinite(list(figures.values())).all() for _, figures in reports)


def test_test_patients_are_read_once_and_only_after_training(small_store, monkeypatch):
    """The rule behind every figure: no test clip is touched before the weights are final."""
    validation = CrossValidation(SMALL, small_store)
    rows = validation.manifest[validation.manifest["fold"] == 0]
    test_patients = set(rows.loc[rows["split"] == "test", "patient_id"])
    videos = small_store.videos
    test_keys = set(videos.loc[videos["patient_id"].isin(test_patients), "key"])
    events: list[str] = []
    read = type(small_store).read

    def spy(self, key, start, stop):
        events.append("test" if key in test_keys else "other")
        return read(self, key, start, stop)

    monkeypatch.setattr(type(small_store), "read", spy)
    validation.fit(0, lambda *_: events.append("epoch"))
    first_test = events.index("test")
    assert "epoch" not in events[first_test:]
    assert events.count("test") == 2 * len(test_keys)


@pytest.mark.slow
def test_cross_validation_learns_what_can_be_learnt(make_store):
    store = make_store(18, num_frames=24)
    config = replace(SMALL, fusion="feature_concat", epochs=8, patience=8, augment=False)
    assert auroc(config, store) > 0.9


@pytest.mark.slow
def test_three_classes_are_cross_validated(make_store):
    store = make_store(18, classes=("ASD", "DHS", "LCS"))
    config = replace(SMALL, epochs=8, patience=8, augment=False)
    assert auroc(config, store) > 0.8


def auroc(config, store) -> float:
    import pandas as pd

    validation = CrossValidation(config, store)
    tables = [validation.fit(fold, ignore).predictions for fold in range(validation.num_folds)]
    table = pd.concat(tables, ignore_index=True)
    return evaluate(Predictions(table, validation.classes, "ASD"))["test/patient/auroc"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positive_class": "scoliosis"}, "unknown positive_class 'scoliosis'; choose one of: ASD"),
        ({"device": "gpu"}, "PyTorch finds no GPU"),
        ({"folds": 7}, "folds must be at most 6"),
        ({"precision": "16-mixed"}, "precision=16-mixed needs a GPU"),
        ({"device": "auto", "find_batch_size": True}, "finds no GPU whose memory sets a limit"),
        (
            {"fusion": "conv_fusion", "motion_backbone": "r2plus1d_18"},
            r"after stage 5 slow_50 has 8x1x1 \(appearance\) and r2plus1d_18 1x2x2 \(motion\)",
        ),
        (
            {"fusion": "lateral", "motion_backbone": "c3d_gap"},
            r"after stage 1 slow_50 has 8x8x8 \(appearance\) and c3d_gap 8x32x32 \(motion\)",
        ),
        (
            {"fusion": "feature_sum", "motion_backbone": "r2plus1d_18"},
            r"slow_50 has 256 \(appearance\) and r2plus1d_18 64 \(motion\)",
        ),
        (
            {"fusion": "early_concat", "motion_backbone": "c3d_gap"},
            "motion_backbone must be left open",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_training(small_store, changes, message):
    if changes.get("device") in ("gpu", "auto") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match=message):
        CrossValidation(replace(SMALL, **changes), small_store)


def test_a_training_that_diverges_says_so_at_once(small_store):
    config = replace(SMALL, learning_rate=1e30, epochs=50, warm_up=0.0)
    with pytest.raises(InputError, match=r"diverged: .* of epoch 1 is no number; choose a smaller"):
        CrossValidation(config, small_store).fit(0, ignore)


def test_only_networks_that_are_there_need_weights_to_be_frozen(monkeypatch):
    fitted = {"motion": FittedWeights("w.pth", "0", {}, 0, 0, 0, 0)}
    monkeypatch.setattr(cross_validation, "fit_pretrained", lambda *_: fitted)
    config = replace(SMALL, width=1.0, freeze="stem", motion_pretrained="w.pth")
    assert check_trial(replace(config, fusion="motion_only")) == fitted
    with pytest.raises(InputError, match="these networks start fresh: appearance;"):
        check_trial(config)
