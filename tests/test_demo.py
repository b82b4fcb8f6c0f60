from dataclasses import replace

import pytest

from asd_experiments import demo
from asd_experiments.config import TrainConfig, close_defaults
from asd_experiments.data.store import ClipStore
from asd_experiments.models.backbones import BACKBONES
from asd_experiments.training.cross_validation import check_trial


@pytest.fixture
def small_demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_COHORT", replace(demo._COHORT, patients=4))
    monkeypatch.setattr(demo, "_STORE", replace(demo._STORE, size=32))


def test_the_cohort_is_made_once_for_each_seed(small_demo, monkeypatch):
    store = demo.demo_store(0)
    assert len(ClipStore(store).videos) == 4
    assert demo.demo_store(1) != store

    def again(*_: object) -> None:
        raise AssertionError("it was there already")

    monkeypatch.setattr(demo, "simulate", again)
    monkeypatch.setattr(demo, "preprocess", again)
    assert demo.demo_store(0) == store


def test_a_simulation_that_was_cut_off_is_done_again(small_demo, monkeypatch):
    def cut_off(config: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo, "preprocess", cut_off)
        with pytest.raises(KeyboardInterrupt):
            demo.demo_store(0)
    (labels,) = demo.FOLDER.glob("*/videos/labels.csv")
    labels.unlink()  # as if it had been cut off a little earlier
    assert len(ClipStore(demo.demo_store(0)).videos) == 4


def test_the_demo_can_be_trained_with_every_backbone_but_the_strict_one():
    for backbone in BACKBONES.keys() - {"c3d"}:
        check_trial(close_defaults(TrainConfig(backbone=backbone), **demo.DEMO_DEFAULTS))
