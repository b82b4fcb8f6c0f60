"""One network on all patients: what it sees, when it stops, and that it can be interrupted."""

from dataclasses import replace

import pytest
import torch

from asd_experiments.errors import InputError
from asd_experiments.training.checkpoints import TrialFolder
from asd_experiments.training.cross_validation import CrossValidation
from asd_experiments.training.fit import LAST_EPOCH, epochs_done
from asd_experiments.training.refit import refit_epochs
from tests.training.builders import SMALL, CrashError, crash_at, ignore

CONFIG = replace(SMALL, backbone="c3d_gap", epochs=3, dropout=0.5)


@pytest.fixture(scope="module")
def whole(small_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refit")
    return CrossValidation(CONFIG, small_store).refit(2, ignore, folder)


def test_it_sees_every_clip_in_every_epoch_and_no_other(small_store, monkeypatch, tmp_path):
    validation = CrossValidation(replace(CONFIG, batch_size=5), small_store)
    seen: list[tuple[str, int]] = []
    read = type(small_store).read

    def spy(self, key, start, stop):
        seen.append((key, start))
        return read(self, key, start, stop)

    monkeypatch.setattr(type(small_store), "read", spy)
    reports = []
    result = validation.refit(2, lambda *report: reports.append(report), tmp_path)
    clips = validation.clips
    assert sorted(seen) == sorted(2 * list(zip(clips["key"], clips["clip_start"], strict=True)))
    assert reports == list(enumerate(result.history, start=1))
    assert set(reports[0][1]) == {"train/clip/loss", "train/clip/objective"}
    assert clips["patient_id"].nunique() == 12 and not result.network.training


def test_it_stops_early_on_the_schedule_of_the_folds(small_store, whole, tmp_path):
    """Were the schedule its own, the rate would fall faster and the second epoch be another."""
    to_the_end = CrossValidation(CONFIG, small_store).refit(3, ignore, tmp_path)
    assert len(whole.history) == 2 and len(to_the_end.history) == 3
    assert to_the_end.history[:2] == whole.history


@pytest.mark.parametrize("changes", [{}, {"ema": 0.8, "balance": "sampler"}])
def test_what_was_interrupted_goes_on_as_if_nothing_had_happened(
    small_store, whole, tmp_path, changes
):
    validation = CrossValidation(replace(CONFIG, **changes), small_store)
    if changes:
        (tmp_path / "whole").mkdir()
        whole = validation.refit(2, ignore, tmp_path / "whole")
    folder = tmp_path / "interrupted"
    folder.mkdir()
    with pytest.raises(CrashError):
        validation.refit(2, crash_at(2), folder)
    assert epochs_done(folder) == 1
    resumed = validation.refit(2, ignore, folder)
    assert resumed.history == whole.history
    for name, weights in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weights), name


def test_it_is_no_fold_again(small_store, whole):
    """Its weights start elsewhere than those of any fold, and it has a seed of its own."""
    fold = CrossValidation(CONFIG, small_store).fit(0, ignore).network.state_dict()
    ours = whole.network.state_dict()
    assert any(not torch.equal(ours[name], fold[name]) for name in ours)


def test_what_is_finished_is_kept_and_the_rest_deleted(small_store, whole, tmp_path):
    folder = TrialFolder.new(tmp_path, "run1", CONFIG, "digest", {})
    (folder.refit / LAST_EPOCH).write_text("needed no more")
    assert folder.finished_refit(CONFIG, 2) is None
    folder.keep_refit(whole)
    assert [file.name for file in folder.refit.iterdir()] == ["result.pt"]
    again = folder.finished_refit(CONFIG, 2)
    assert (again.history, again.seconds) == (whole.history, whole.seconds)
    for name, weights in whole.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], weights)
    folder.check(replace(CONFIG, final="refit"), "digest", {})  # the folds are the same
    folder.close()


def test_a_loss_that_is_no_number_ends_it(small_store, tmp_path):
    config = replace(CONFIG, learning_rate=1e30, epochs=50, warm_up=0.0)
    with pytest.raises(InputError, match=r"diverged: train/clip/loss of epoch \d is no number"):
        CrossValidation(config, small_store).refit(5, ignore, tmp_path)


def test_it_takes_the_median_of_the_best_epochs_rounded_up():
    assert refit_epochs([9, 1, 5]) == 5
    assert refit_epochs([3, 4]) == 4
