"""Networks that answer together, by numbers that were worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from asd_experiments.evaluation.network_predictions import NetworkPredictions
from asd_experiments.evaluation.subgroups import subgroup_table

CLIPS = [
    # network, patient, video, clip, label, probability of ASD
    (0, "P1", "a", 0, "ASD", 0.5),
    (0, "P1", "b", 0, "ASD", 0.7),
    (1, "P1", "a", 0, "ASD", 0.9),
    (1, "P1", "b", 0, "ASD", 0.7),
    (0, "P2", "c", 0, "non_ASD", 0.5),
    (1, "P2", "c", 0, "non_ASD", 0.8),
]


@pytest.fixture
def predictions() -> NetworkPredictions:
    columns = ["fold", "patient_id", "video", "clip_start", "label", "probability_ASD"]
    table = pd.DataFrame(CLIPS, columns=columns).assign(clip_start_seconds=0.0, split="test")
    table = table.assign(
        group=table["patient_id"],
        probability_non_ASD=1 - table["probability_ASD"],
        appearance_ASD=[0.1 * number for number in range(len(table))],
    )
    return NetworkPredictions(
        table, ["ASD", "non_ASD"], "ASD", temperatures={0: 1.0, 1: 2.0}, threshold=0.6
    )


def test_a_network_is_calibrated_at_its_temperature_and_networks_are_averaged(predictions):
    """P1 of network 1: the mean 0.8 has odds of 4; at a temperature of 2 their root, 2: 2/3."""
    cases = predictions.cases("test", "patient")
    assert cases.probabilities[:, 0] == pytest.approx([(0.6 + 2 / 3) / 2, (0.5 + 2 / 3) / 2])
    assert cases.rows["num_clips"].tolist() == [2, 1]
    assert cases.decisions.tolist() == [0, 1]
    assert cases.thresholds == {0: 0.6} and not cases.has_folds
    clips = predictions.cases("test", "clip")
    assert clips.probabilities[0, 0] == pytest.approx((0.5 + 0.75) / 2)
    assert len(clips) == 3 and len(predictions.cases("val", "patient")) == 0


def test_patients_are_seen_through_chosen_videos(predictions):
    chosen = (predictions.table["video"] == "a").to_numpy()
    cases = predictions.cases("test", "patient", chosen)
    assert cases.probabilities[:, 0] == pytest.approx([(0.5 + 0.75) / 2])
    videos = pd.DataFrame(
        {
            "video": ["a", "b", "c"],
            "patient_id": ["P1", "P1", "P2"],
            "label": ["ASD", "ASD", "non_ASD"],
            "view": ["left", "right", "left"],
        }
    )
    table = subgroup_table(predictions, videos).set_index("level")
    assert table["num_patients"].to_dict() == {"all patients": 2, "left": 2, "right": 1}
    expected = np.mean([(0.5 + 0.75) / 2, (0.5 + 2 / 3) / 2])
    assert table.loc["left", "mean_probability_ASD"] == pytest.approx(expected)
