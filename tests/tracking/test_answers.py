"""From clips to answers, by numbers that were worked out by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from asd_experiments.errors import InputError
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.predictions import probability_columns
from asd_experiments.evaluation.temperature import fit_temperatures
from asd_experiments.evaluation.threshold import decide
from asd_experiments.simulation.predictions import PredictedCohort, simulate_predictions
from asd_experiments.tracking.answers import RequestedVideo, VideoClips, answer_table
from asd_experiments.tracking.model_signature import PredictOptions, output_columns, signature
from asd_experiments.tracking.model_spec import FINAL, ModelSpec

SPEC = ModelSpec(
    network={"clip_length": 8, "size": 32},
    classes=["ASD", "non_ASD"],
    positive_class="ASD",
    thresholds={"0": 0.5, "1": 0.8},
    clip_stride=8,
    segmentation=True,
    normalisation={},
    recipe={},
    folds=2,
    temperatures={"0": 1.0, "1": 2.0},
)


def video(*per_network: list[float], numbers=(0, 1), flags: str = "") -> VideoClips:
    """A video whose clips have these probabilities of ASD, network by network."""
    clips = pd.concat(
        pd.DataFrame(
            {
                "fold": number,
                "clip_start": range(0, 8 * len(values), 8),
                "clip_start_seconds": np.arange(len(values)) * 0.32,
                "probability_ASD": values,
                "probability_non_ASD": 1 - np.array(values),
            }
        )
        for number, values in zip(numbers, per_network, strict=True)
    )
    return VideoClips(clips, "a" * 64, person_share=0.75, frame_rate_hz=25.0, flags=flags)


def test_a_fold_is_calibrated_at_its_temperature_and_folds_are_averaged():
    """Fold 1: the mean 0.8 has odds of 4; at a temperature of 2 their root, 2, which is 2/3."""
    table = answer_table(
        SPEC, [RequestedVideo("walk", result=video([0.5, 0.7], [0.9, 0.7]))], versions="{}"
    )
    (row,) = table.to_dict("records")
    assert row["probability_ASD"] == pytest.approx((0.6 + 2 / 3) / 2)
    assert row["probability_non_ASD"] == pytest.approx((0.4 + 1 / 3) / 2)
    assert row["threshold"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert (row["decision"], row["num_clips"], row["person_share"]) == ("ASD", 2, 0.75)
    assert row["patient_probability_ASD"] == row["probability_ASD"]
    assert (row["patient_num_videos"], row["patient_num_clips"]) == (1, 2)


def test_clips_of_a_patient_count_the_same_whatever_their_video():
    rows = [
        RequestedVideo("first", "P1", video([0.9], numbers=(0,))),
        RequestedVideo("other", "P2", video([0.1], numbers=(0,))),
        RequestedVideo("second", "P1", video([0.1, 0.2, 0.4], numbers=(0,))),
        RequestedVideo("broken", "P1", problem="it shows nobody"),
        RequestedVideo("alone", None, problem="there is no such file"),
    ]
    spec = replace(SPEC, folds=1, temperatures={"0": 1.0}, thresholds={"0": 0.35})
    table = answer_table(spec, rows, versions="{}")
    assert table["video"].tolist() == ["first", "other", "second", "broken", "alone"]
    assert table["probability_ASD"].tolist()[:3] == pytest.approx([0.9, 0.1, 0.7 / 3])
    decisions = table[["decision", "patient_decision"]].fillna("")
    assert decisions["decision"].tolist() == ["ASD", "non_ASD", "non_ASD", "", ""]
    of_patient = table["patient_probability_ASD"].tolist()
    assert of_patient[:4] == pytest.approx([0.4, 0.1, 0.4, 0.4]) and np.isnan(of_patient[4])
    assert decisions["patient_decision"].tolist() == ["ASD", "non_ASD", "ASD", "ASD", ""]
    assert table["patient_num_videos"].tolist() == [2, 1, 2, 2, 0]
    assert table["patient_num_clips"].tolist() == [4, 1, 4, 4, 0]
    assert table["problem"].tolist() == ["", "", "", "it shows nobody", "there is no such file"]


def test_a_fold_decides_patients_as_its_logged_threshold_does():
    """On simulated trials, whose temperatures and thresholds are fitted as those of real ones."""
    cohort = PredictedCohort({"ASD": 30, "non_ASD": 20}, validation=True)
    (table,) = simulate_predictions(cohort, [0.8], seed=1)
    sharp = table[probability_columns(cohort.classes)] ** 20  # the networks are too sure
    table[sharp.columns] = sharp.div(sharp.sum(axis=1), axis=0)
    predictions = Predictions(table, cohort.classes, "ASD")
    temperatures = fit_temperatures(predictions)
    spec = replace(
        SPEC,
        folds=len(temperatures),
        thresholds={str(fold): value for fold, value in predictions.thresholds.items()},
        temperatures={str(fold): fitted.value for fold, fitted in temperatures.items()},
    )
    assert len({round(value, 2) for value in spec.temperatures.values()}) > 2
    patients = predictions.cases("test", "patient")
    logged = decide(patients.rows, patients.classes, "ASD", predictions.thresholds)
    clips = table[table["split"] == "test"]
    for (fold, patient), index in patients.rows.groupby(["fold", "patient_id"]).indices.items():
        own = clips[(clips["fold"] == fold) & (clips["patient_id"] == patient)]
        row = RequestedVideo("all", patient, VideoClips(own, "", 1.0, 25.0, ""))
        (answer,) = answer_table(spec, [row], versions="{}")["patient_decision"]
        assert answer == patients.classes[logged[index[0]]]


def test_the_refitted_network_takes_the_means_of_the_folds():
    """Temperatures 1 and 2 have the geometric mean of root 2; the threshold is the folds'."""
    spec = replace(SPEC, final="refit", refit_epochs=3)
    assert spec.networks(FINAL) == [FINAL] and spec.networks(1) == [1]
    result = video([0.8], numbers=(FINAL,))
    table = answer_table(spec, [RequestedVideo("walk", result=result)], versions="{}")
    odds = 4 ** (1 / np.sqrt(2))
    assert table["probability_ASD"].tolist() == pytest.approx([odds / (1 + odds)])
    assert table["threshold"].tolist() == pytest.approx([(0.5 + 2 / 3) / 2])


def test_three_classes_have_no_threshold_but_a_most_probable_class():
    classes = ["ASD", "DHS", "LCS"]
    spec = replace(SPEC, classes=classes, thresholds={}, folds=1, temperatures={"0": 0.5})
    clips = pd.DataFrame(
        {
            "fold": [0, 0],
            "clip_start": [0, 8],
            "clip_start_seconds": [0.0, 0.32],
            "probability_ASD": [0.2, 0.4],
            "probability_DHS": [0.5, 0.5],
            "probability_LCS": [0.3, 0.1],
        }
    )
    result = VideoClips(clips, "", 1.0, 25.0, "")
    table = answer_table(spec, [RequestedVideo("walk", result=result)], versions="{}")
    (row,) = table.to_dict("records")
    squares = np.array([0.3, 0.5, 0.2]) ** 2
    found = [row[f"probability_{name}"] for name in classes]
    assert found == pytest.approx((squares / squares.sum()).tolist())
    assert row["decision"] == row["patient_decision"] == "DHS"
    assert np.isnan(row["threshold"])


def test_the_signature_names_every_column_and_parameter():
    ours = signature(["ASD", "non_ASD"])
    assert [(c.name, c.required) for c in ours.inputs.inputs] == [
        ("video", True),
        ("patient_id", False),
    ]
    table = answer_table(SPEC, [RequestedVideo("walk", problem="none")], versions="{}")
    assert ours.outputs.input_names() == list(output_columns(SPEC.classes)) == list(table.columns)
    assert {p.name: p.default for p in ours.params.params} == {
        "fold": -1,
        "clip_stride": 0,
        "batch_size": 8,
        "device": "auto",
    }


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"batch_size": 0}, "batch_size: should be greater than or equal to 1, got 0"),
        ({"clip_stride": -1}, "clip_stride: should be greater than or equal to 0, got -1"),
        ({"device": "gpu"}, "device: should be 'auto', 'cpu' or 'cuda', got 'gpu'"),
        ({"folds": 1}, "folds: Unexpected keyword argument, got 1"),
    ],
)
def test_parameters_are_checked(params, message):
    with pytest.raises(InputError, match=message):
        PredictOptions.read(params)


def test_a_fold_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="fold must be 0 to 1, or -1 for the mean over all, got 2"):
        SPEC.networks(2)
    refitted = replace(SPEC, final="refit")
    with pytest.raises(InputError, match="or -1 for the refitted network, got -2"):
        refitted.networks(-2)


def test_the_specification_of_an_earlier_version_cannot_classify_but_be_read(tmp_path):
    SPEC.write(tmp_path / "spec.json")
    assert ModelSpec.read(tmp_path / "spec.json") == SPEC
    earlier = replace(SPEC, temperatures={})
    with pytest.raises(
        InputError, match=r"holds no temperatures, which calibrate .* train it anew"
    ):
        earlier.check_complete()


def test_the_specification_of_a_newer_version_is_refused(tmp_path):
    (tmp_path / "spec.json").write_text('{"network": {}, "attention": 1}')
    with pytest.raises(InputError, match="newer version of this project: attention is unknown"):
        ModelSpec.read(tmp_path / "spec.json")
