"""The patient model: what the label changes, how much, and nothing else."""

from dataclasses import astuple

import numpy as np
import pytest
from scipy.stats import ks_2samp, norm
from sklearn.metrics import roc_auc_score

from asd_experiments.simulation.walker import (
    ASD,
    NON_ASD,
    SHIFT,
    Severity,
    draw_gait,
    draw_patient,
    stratified_severities,
    vary_walk,
)


def cohort_severities(effect: float, count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    severities, labels = [], []
    for label in (ASD, NON_ASD):
        for standard in stratified_severities(rng, count):
            severities.append(draw_patient(rng, label, effect, standard).severity)
            labels.append(label == ASD)
    return np.array(severities), np.array(labels)


def test_the_best_observer_is_neither_blind_nor_perfect() -> None:
    severities, labels = cohort_severities(effect=1.0)
    assert 0.83 <= roc_auc_score(labels, severities[:, 0]) <= 0.87
    assert 0.83 <= roc_auc_score(labels, severities[:, 1]) <= 0.87
    # equal variances: the likelihood ratio is monotone in the sum
    assert 0.93 <= roc_auc_score(labels, severities.sum(axis=1)) <= 0.96


def test_the_shift_gives_the_documented_auroc() -> None:
    assert norm.cdf(SHIFT / np.sqrt(2)) == pytest.approx(0.86, abs=0.005)
    assert norm.cdf(SHIFT) == pytest.approx(0.94, abs=0.005)


def test_without_effect_the_label_changes_nothing() -> None:
    for seed in range(5):
        patients = [
            draw_patient(np.random.default_rng(seed), label, 0.0) for label in (ASD, NON_ASD)
        ]
        assert patients[0].severity == patients[1].severity
        assert patients[0].gait == patients[1].gait


def test_without_effect_the_classes_are_one_distribution() -> None:
    severities, labels = cohort_severities(effect=0.0, count=300)
    for column in severities.T:
        assert ks_2samp(column[labels], column[~labels], method="asymp").pvalue > 0.5


def test_every_cue_moves_with_its_own_severity_only() -> None:
    def mean_gait(severity: Severity) -> np.ndarray:
        draws = [astuple(draw_gait(np.random.default_rng(seed), severity)) for seed in range(20)]
        return np.mean(draws, axis=0)

    none, posture, movement = (mean_gait(Severity(*s)) for s in ((0, 0), (2, 0), (0, 2)))
    names = np.array(
        [
            "height",
            "trunk",
            "kyphosis",
            "neck",
            "knee",
            "cadence",
            "step",
            "arm",
            "uneven",
            "stance",
        ]
    )
    assert set(names[posture != none]) == {"trunk", "kyphosis", "neck", "knee"}
    assert set(names[movement != none]) == {"cadence", "step", "arm", "uneven", "stance"}


def test_stratified_severities_fill_every_bin_once() -> None:
    for count in (1, 2, 12):
        drawn = np.array(stratified_severities(np.random.default_rng(0), count))
        bins = np.floor(norm.cdf(drawn) * count).astype(int)
        assert drawn.shape == (count, 2)
        for column in bins.T:
            assert sorted(column) == list(range(count))


def test_a_walk_varies_little_around_the_patient() -> None:
    gait = draw_gait(np.random.default_rng(0), Severity(0.0, 0.0))
    walks = [vary_walk(np.random.default_rng(seed), gait) for seed in range(40)]
    steps = np.array([walk.step_scale for walk in walks]) / gait.step_scale
    assert 0.005 < steps.std() < 0.03
    assert {walk.height_m for walk in walks} == {gait.height_m}
