from dataclasses import replace

import pytest
import torch

from asd_experiments.errors import InputError
from asd_experiments.models.backbones import build_backbone
from asd_experiments.training.checkpoints import TrialFolder
from asd_experiments.training.cross_validation import CrossValidation, check_trial
from asd_experiments.training.fit import BEST_EPOCH, LAST_EPOCH, epochs_done
from tests.training.builders import SMALL, CrashError, crash_at, ignore

CONFIG = replace(SMALL, epochs=3, patience=3, dropout=0.5)


def interrupted(validation, folder, *, at: int) -> None:
    with pytest.raises(CrashError):
        validation.fit(0, crash_at(at), folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"ema": 0.8, "accumulate": 2},
        {"balance": "sampler", "loader_workers": 1, "backbone": "c3d_gap"},
        {"patience": 1, "learning_rate": 0.3},
    ],
)
def test_an_interrupted_fold_goes_on_as_if_nothing_had_happened(small_store, tmp_path, changes):
    """Dropout, augmentation and the schedule are on: each would show."""
    validation = CrossValidation(replace(CONFIG, **changes), small_store)
    whole = validation.fit(0, ignore)
    interrupted(validation, tmp_path, at=2)
    assert epochs_done(tmp_path) == 1
    reports = []
    resumed = validation.fit(0, lambda *report: reports.append(report), tmp_path)
    assert resumed.history == whole.history
    assert reports == list(enumerate(whole.history, start=1))
    assert resumed.best_epoch == whole.best_epoch
    for name, weights in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weights), name
    assert resumed.predictions.equals(whole.predictions)


def test_a_fold_that_ended_before_its_first_epoch_begins_anew(small_store, tmp_path):
    """Weights of that epoch are there; had they the lowest loss ever, they would not be taken."""
    validation = CrossValidation(replace(CONFIG, backbone="c3d_gap", epochs=1), small_store)
    whole = validation.fit(0, ignore)
    interrupted(validation, tmp_path, at=1)
    assert epochs_done(tmp_path) == 0
    assert [file.name for file in tmp_path.iterdir()] == [BEST_EPOCH]
    stale = torch.load(tmp_path / BEST_EPOCH, weights_only=True)
    torch.save(stale | {"figure": -1.0, "epoch": 9}, tmp_path / BEST_EPOCH)
    again = validation.fit(0, ignore, tmp_path)
    assert (again.best_epoch, again.history) == (1, whole.history)
    assert again.predictions.equals(whole.predictions)


def test_a_finished_fold_is_kept_whole_and_the_rest_of_it_deleted(small_store, tmp_path):
    validation = CrossValidation(CONFIG, small_store)
    folder = TrialFolder.new(tmp_path, "run1", CONFIG, "digest", {})
    result = validation.fit(0, ignore, folder.fold(0))
    assert folder.finished(0, CONFIG, 2) is None
    assert (folder.fold(0) / LAST_EPOCH).exists()
    folder.keep(result)
    assert sorted(f.name for f in folder.fold(0).iterdir()) == ["predictions.parquet", "result.pt"]
    again = folder.finished(0, CONFIG, 2)
    assert (again.best_epoch, again.history) == (result.best_epoch, result.history)
    assert again.predictions.equals(result.predictions)
    for name, weights in result.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], weights)
    folder.close()


def test_a_trial_is_found_by_each_of_its_runs(tmp_path):
    folder = TrialFolder.new(tmp_path, "run1", CONFIG, "digest", {})
    folder.continued_by("run2")
    folder.close()
    for run_id in ("run1", "run2"):
        found = TrialFolder.find(tmp_path, run_id)
        assert found.runs == ("run1", "run2")
        found.close()
    with pytest.raises(InputError, match="has nothing of run run3"):
        TrialFolder.find(tmp_path, "run3")
    TrialFolder.find(tmp_path, "run1").delete()
    assert list(tmp_path.iterdir()) == []


def test_what_differs_is_refused_by_its_name(tmp_path):
    folder = TrialFolder.new(tmp_path, "run1", CONFIG, "digest", {})
    other = replace(CONFIG, store="moved", resume="run1", run_name="again", loader_workers=2)
    folder.check(other, "digest", {})
    with pytest.raises(InputError, match=r"epochs: the trial began with '3', got '4'\n  seed: "):
        folder.check(replace(other, epochs=4, seed=7), "digest", {})
    with pytest.raises(InputError, match="store: its content is not what the trial began with"):
        folder.check(other, "another digest", {})
    folder.close()


def test_weights_are_known_by_their_content(tmp_path):
    """A file that was moved is the same; one that was written anew is not, under the same name."""
    backbone = {"in_channels": 3, "clip_length": 8, "size": 32, "width": 1.0, "dropout": 0.0}
    state = build_backbone("x3d_s", **backbone).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    config = replace(
        CONFIG,
        backbone="x3d_s",
        fusion="appearance_only",
        width=1.0,
        pretrained=str(tmp_path / "weights.pth"),
    )
    folder = TrialFolder.new(tmp_path / "trials", "run1", config, "digest", check_trial(config))
    (tmp_path / "weights.pth").rename(tmp_path / "moved.pth")
    moved = replace(config, pretrained=str(tmp_path / "moved.pth"))
    folder.check(moved, "digest", check_trial(moved))
    state["network.blocks.0.conv.conv_t.weight"] += 1
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(
        InputError,
        match=r"pretrained, motion_pretrained: the trial began with appearance weights of "
        r"SHA-256 (\w{12}), got appearance weights of SHA-256 (?!\1)",
    ):
        folder.check(config, "digest", check_trial(config))
    with pytest.raises(InputError, match=r"began with appearance weights .*, got fresh weights"):
        folder.check(replace(config, pretrained=None), "digest", {})
    folder.close()


def test_two_processes_do_not_work_on_one_trial(tmp_path):
    folder = TrialFolder.new(tmp_path, "run1", CONFIG, "digest", {})
    with pytest.raises(InputError, match="still running"):
        TrialFolder.find(tmp_path, "run1")
    folder.close()
    TrialFolder.find(tmp_path, "run1").close()
