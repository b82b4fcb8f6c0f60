from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.metrics import metric_values
from asd_experiments.evaluation.predictions import Unit, check_predictions
from asd_experiments.simulation.predictions import PredictedCohort, simulate_predictions

LARGE = PredictedCohort({"ASD": 8000, "non-ASD": 4000}, clips_per_patient=(2, 6))
THREE = replace(LARGE, class_sizes={"ASD": 5000, "DHS": 3000, "LCS": 2000})


def measured(table: pd.DataFrame, cohort: PredictedCohort, unit: Unit, metric: str) -> float:
    predictions = Predictions(table, cohort.classes, "ASD")
    cases = replace(predictions.cases("test", unit), thresholds=dict.fromkeys(range(5), 0.5))
    return metric_values(cases)[metric]


@pytest.mark.parametrize("cohort", [LARGE, THREE])
@pytest.mark.parametrize("share", [0.2, 0.8])
def test_a_large_sample_has_the_stated_auroc_at_every_unit(cohort, share):
    cohort = replace(cohort, intra_class_correlation=share)
    (table,) = simulate_predictions(cohort, [0.8], seed=0)
    separation = cohort.separation(0.8)
    assert cohort.patient_auroc(separation) == pytest.approx(0.8)
    assert measured(table, cohort, "patient", "auroc") == pytest.approx(0.8, abs=0.012)
    of_clips = cohort.clip_auroc(separation)
    assert of_clips < 0.8
    assert measured(table, cohort, "clip", "auroc") == pytest.approx(of_clips, abs=0.012)


def test_sensitivity_and_specificity_are_the_stated_ones():
    (table,) = simulate_predictions(LARGE, [0.86], seed=1)
    expected = LARGE.patient_sensitivity(LARGE.separation(0.86))
    for metric in ("sensitivity", "specificity"):
        assert measured(table, LARGE, "patient", metric) == pytest.approx(expected, abs=0.015)


def test_clips_of_a_patient_are_alike_as_stated():
    cohort = replace(LARGE, clips_per_patient=(2, 2), intra_class_correlation=0.3)
    (table,) = simulate_predictions(cohort, [0.7], seed=0)
    pairs = table.loc[table["label"] == "ASD", "probability_ASD"].to_numpy().reshape(-1, 2)
    assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_trials_are_alike_as_stated_and_differ_as_stated(correlation):
    tables = simulate_predictions(LARGE, [0.82, 0.86], correlation=correlation, seed=0)
    for label, rows in zip(("ASD", "non-ASD"), (t["label"] == "ASD" for t in tables), strict=True):
        inside = rows if label == "ASD" else ~rows
        scores = [table.loc[inside, "probability_ASD"] for table in tables]
        assert np.corrcoef(scores)[0, 1] == pytest.approx(correlation, abs=0.03)
    areas = [measured(table, LARGE, "patient", "auroc") for table in tables]
    assert areas[1] - areas[0] == pytest.approx(0.04, abs=0.012)
    other = [name for name in tables[0] if not name.startswith("probability_")]
    pd.testing.assert_frame_equal(tables[0][other], tables[1][other])


@pytest.mark.parametrize("sizes", [{"ASD": 54, "non-ASD": 27}, {"ASD": 54, "DHS": 16, "LCS": 11}])
@pytest.mark.parametrize("validation", [True, False])
def test_tables_are_accepted(sizes, validation):
    cohort = PredictedCohort(sizes, validation=validation)
    (table,) = simulate_predictions(cohort, [0.98], seed=3)
    check_predictions(table, cohort.classes)
    assert table.groupby("label")["patient_id"].nunique().to_dict() == sizes
    clips = table[table["split"] == "test"].groupby("patient_id").size()
    assert clips.min() >= 12
    assert clips.max() <= 36
    assert set(table["split"]) == ({"val", "test"} if validation else {"test"})
    held = table.groupby(["fold", "split"])["label"].nunique()
    assert (held == len(sizes)).all()
    assert len(held) == (10 if validation else 5)


def test_same_seed_same_table():
    cohort = PredictedCohort()
    first, again, other = (simulate_predictions(cohort, [0.8], seed=s)[0] for s in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert len(first) != len(other)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"patients of two classes, got {'ASD': 3}"):
        PredictedCohort({"ASD": 3})
    with pytest.raises(ValueError, match=r"from 1 up, got 4 to 3"):
        PredictedCohort(clips_per_patient=(4, 3))
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.2"):
        PredictedCohort(intra_class_correlation=1.2)
    with pytest.raises(ValueError, match="folds must be at least 2, got 1"):
        PredictedCohort(folds=1)
    with pytest.raises(ValueError, match=r"patient_auroc must be from 0\.5 to 0\.9999, got 1"):
        PredictedCohort().separation(1.0)
    with pytest.raises(ValueError, match=r"correlation must be between 0 and 1, got -0\.5"):
        simulate_predictions(PredictedCohort(), [0.8], correlation=-0.5, seed=0)
