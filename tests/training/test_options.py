"""Every option of training does what it says."""

from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch
from lightning_fabric.accelerators import MPSAccelerator
from pytorch_lightning import Callback

from asd_experiments.config import TrialConfig
from asd_experiments.errors import InputError
from asd_experiments.models.fusion import Scores
from asd_experiments.models.fusion.late_separate import LateSeparate
from asd_experiments.models.two_stream import TwoStream, build_two_stream
from asd_experiments.training import fit
from asd_experiments.training.batch_size import _try_out, find_batch_size, largest_power_of_two
from asd_experiments.training.callbacks import MovingAverage
from asd_experiments.training.cross_validation import CrossValidation
from asd_experiments.training.module import TwoStreamModule, rate_factor
from tests.training.builders import SMALL, ignore

C3D = replace(SMALL, backbone="c3d_gap", epochs=1, learning_rate=1e-3, augment=False)


def watched(function, results: list):
    """The same function, whose results are noted."""

    def call(*args, **kwargs):
        results.append(function(*args, **kwargs))
        return results[-1]

    return call


class Watcher(Callback):
    """Notes the length of the gradient and the weights after every step."""

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer, module, *_):
        if trainer.global_step > len(self.weights):
            state = module.network.state_dict()
            self.weights.append({name: value.clone() for name, value in state.items()})
            gradients = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
            self.norms.append(float(torch.cat(gradients).norm()))


@pytest.fixture
def train_watched(small_store, monkeypatch):
    def train(config: TrialConfig):
        watcher = Watcher()
        with monkeypatch.context() as patch:
            make = fit.Trainer

            def with_watcher(**settings):
                settings["callbacks"] = [watcher, *settings["callbacks"]]
                return make(**settings)

            patch.setattr(fit, "Trainer", with_watcher)
            result = CrossValidation(config, small_store).fit(0, ignore)
        return result, watcher

    return train


def test_accumulated_batches_have_the_gradient_of_the_large_one(train_watched):
    _, large = train_watched(replace(C3D, batch_size=4, balance="none"))
    _, small = train_watched(replace(C3D, batch_size=2, accumulate=2, balance="none"))
    assert len(small.weights) == len(large.weights)
    norm = large.norms[0]
    assert norm > 0 and small.norms[0] == pytest.approx(norm, rel=1e-4)
    for name, weights in large.weights[0].items():
        # Adam's first step is the sign of the gradient: rounding decides where that is zero.
        same = torch.isclose(weights, small.weights[0][name], atol=1e-5).float().mean()
        assert same > 0.99, name


def test_a_longer_gradient_is_shortened(train_watched):
    _, free = train_watched(C3D)
    _, clipped = train_watched(replace(C3D, gradient_clip=free.norms[0] / 2))
    assert clipped.norms[0] == pytest.approx(free.norms[0] / 2, rel=1e-3)


def test_the_kept_weights_are_the_moving_average_of_the_steps(train_watched):
    result, watcher = train_watched(replace(C3D, ema=0.9, backbone="slow_50"))
    expected = {name: value.clone() for name, value in watcher.weights[0].items()}
    for weights in watcher.weights[1:]:
        for name, value in weights.items():
            if value.is_floating_point():
                expected[name] = 0.9 * expected[name] + 0.1 * value
    assert len(watcher.weights) > 1
    kept = result.network.state_dict()
    assert any("running_mean" in name for name in kept)
    for name, value in expected.items():
        if value.is_floating_point():
            torch.testing.assert_close(kept[name], value, rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(kept[name], watcher.weights[-1][name]) for name in kept)


LABELS = torch.tensor([0, 0, 1])
BATCH = {
    "appearance": torch.zeros(3, 3, 1, 1, 1),
    "motion": torch.zeros(3, 2, 1, 1, 1),
    "label": LABELS,
    "row": torch.tensor([0, 1, 2]),
}
LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
WEIGHTS = torch.tensor([1.0, 3.0, 2.0])


def module_that_says(scores, monkeypatch, *, fusion):
    """A module with smoothed labels and weighted clips, whose network says this of any clip."""
    network = build_two_stream(**replace(C3D, fusion=fusion).network, num_classes=2)
    monkeypatch.setattr(network, "forward", lambda appearance, motion: scores)
    clips = pd.DataFrame({"label": ["a", "a", "b"], "patient_id": ["P1", "P2", "P3"]})
    return TwoStreamModule(
        network,
        clips.assign(fold=0, split="val", group=clips["patient_id"], video=clips["patient_id"]),
        classes=["a", "b"],
        clip_weights=WEIGHTS,
        learning_rate=1e-3,
        weight_decay=0.0,
        label_smoothing=0.2,
    )


def by_hand(logits):
    """Mean of the weighted losses, with nine tenths on the true class."""
    losses = []
    for own, label, weight in zip(logits, LABELS, WEIGHTS, strict=True):
        costs = -own.log_softmax(0)
        losses.append(weight * (0.9 * costs[label] + 0.1 * costs[1 - label]))
    return float(sum(losses)) / 3


def test_smoothed_labels_give_the_loss_of_the_formula(monkeypatch):
    module = module_that_says(Scores(LOGITS, None, None), monkeypatch, fusion="motion_only")
    assert float(module.training_step(BATCH, 0)) == pytest.approx(by_hand(LOGITS))


def test_training_clips_are_judged_as_those_of_the_validation(monkeypatch):
    """The answer's loss, each class alike, whatever is trained and however it is weighted."""
    scores = Scores(LOGITS, appearance=2 * LOGITS, motion=-LOGITS)
    module = module_that_says(scores, monkeypatch, fusion="late_separate")
    figures: dict[str, float] = {}
    monkeypatch.setattr(module, "log_dict", figures.update)
    module.training_step(BATCH, 0)
    module.validation_step(BATCH, 0)
    module.on_validation_epoch_end()
    costs = -LOGITS.log_softmax(dim=1)[range(3), LABELS]
    expected = float((costs[:2].mean() + costs[2]) / 2)
    assert figures["train/clip/loss"] == pytest.approx(expected)
    assert figures["val/clip/loss"] == figures["train/clip/loss"]
    both = by_hand(2 * LOGITS) + by_hand(-LOGITS)
    assert float(figures["train/clip/objective"]) == pytest.approx(both)


def test_the_warm_up_is_the_share_that_is_asked_for():
    factor = partial(rate_factor, total_steps=100)
    assert factor(0, warm_up=0.0) == 1
    assert [factor(step, warm_up=0.3) for step in (0, 14, 29)] == pytest.approx([1 / 30, 0.5, 1])
    assert factor(30, warm_up=0.3) == 1 > factor(31, warm_up=0.3)


@pytest.mark.parametrize(("limit", "most", "found"), [(100, 1000, 64), (64, 1000, 64), (9, 5, 4)])
def test_the_batch_is_the_largest_power_of_two_that_fits(limit, most, found):
    assert largest_power_of_two(lambda size: size <= limit, most=most) == found


def test_a_network_too_large_for_two_clips_is_refused():
    with pytest.raises(
        InputError, match="find_batch_size: a batch of 2 clips does not fit the mem"
    ):
        largest_power_of_two(lambda size: False, most=8)


def test_a_batch_is_tried_out_as_the_training_does_and_nothing_is_drawn(tmp_path, monkeypatch):
    """Losses, moving average and optimiser of the trial, then a prediction; no file is written."""
    trained, scored, trainers = [], [], []
    monkeypatch.setattr(LateSeparate, "trained", watched(LateSeparate.trained, trained))
    monkeypatch.setattr(TwoStream, "scores_by_stream", watched(TwoStream.scores_by_stream, scored))
    monkeypatch.setattr(fit, "Trainer", watched(fit.Trainer, trainers))
    monkeypatch.chdir(tmp_path)
    options = {"fusion": "late_separate", "ema": 0.9, "gradient_clip": 1.0}
    config = replace(C3D, backbone_lr_factor=0.5, **options)
    before = torch.random.get_rng_state()
    _try_out(config, 2, 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [len(losses) for losses in trained] == [2, 2] and len(scored) == 1
    (trainer,) = trainers
    assert trainer.global_step == 2 and trainer.gradient_clip_val == 1.0
    assert any(isinstance(callback, MovingAverage) for callback in trainer.callbacks)
    assert len(trainer.optimizers[0].param_groups) == 2
    assert list(tmp_path.iterdir()) == []


def test_auto_is_the_same_place_for_training_as_for_everything_else(monkeypatch):
    """On a Mac, Lightning's own `auto` would take the graphics processor (MPS)."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    trainers = []
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    monkeypatch.setattr(fit, "Trainer", watched(fit.Trainer, trainers))
    _try_out(replace(C3D, device="auto"), 2, 2)
    assert trainers[0].strategy.root_device == torch.device("cpu")


def test_a_step_that_does_not_fit_ends_the_search(monkeypatch):
    step = TwoStreamModule.training_step

    def in_little_memory(module, batch, number):
        if len(batch["label"]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return step(module, batch, number)

    monkeypatch.setattr(TwoStreamModule, "training_step", in_little_memory)
    assert find_batch_size(C3D, num_clips=1000, num_classes=2) == 4


def test_the_batch_size_is_bounded_by_the_clips_of_the_smallest_fold(small_store, monkeypatch):
    monkeypatch.setattr("asd_experiments.training.batch_size._try_out", lambda *_: None)
    assert CrossValidation(C3D, small_store).find_batch_size() == 2

    def no_room(*_):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("asd_experiments.training.batch_size._try_out", no_room)
    with pytest.raises(InputError, match="does not fit"):
        CrossValidation(C3D, small_store).find_batch_size()


def test_a_mistake_in_the_search_is_not_taken_for_the_users(small_store, monkeypatch):
    def mistaken(*_):
        raise ValueError("shapes do not match")

    monkeypatch.setattr("asd_experiments.training.batch_size._try_out", mistaken)
    with pytest.raises(ValueError, match="shapes do not match") as caught:
        CrossValidation(C3D, small_store).find_batch_size()
    assert not isinstance(caught.value, InputError)
