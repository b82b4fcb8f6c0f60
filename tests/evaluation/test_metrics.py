import math

import numpy as np
import pandas as pd
import pytest
from mlflow.utils.validation import _validate_metric_name as validate_metric_name
from sklearn import metrics as sklearn_metrics

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.confusion import confusion_counts
from asd_experiments.evaluation.metrics import METRICS, evaluate, metric_values

from .builders import (
    CLASSES,
    HALF,
    THREE,
    cases_of,
    clip,
    decided_at,
    random_table,
    two_class_table,
)

SPREADS = ("mean", "sd")
FITTED = {"ece", "calibration_slope", "calibration_intercept"}
"""Tested with calibration."""


def test_two_classes_by_hand():
    # predicted:      ASD   non-ASD
    # true ASD         3       1
    # true non-ASD     2       4
    scores = {"ASD": [0.9, 0.8, 0.6, 0.2], "non-ASD": [0.7, 0.5, 0.4, 0.3, 0.2, 0.1]}
    rows = two_class_table(
        [(0, f"{label}{i}", label, s) for label in scores for i, s in enumerate(scores[label])]
    )
    assert confusion_counts(cases_of(rows)).tolist() == [[3, 1], [2, 4]]
    values = metric_values(cases_of(rows))
    assert values.keys() - FITTED == METRICS.keys() - FITTED | {"f1_ASD", "f1_non-ASD"}
    assert {name: value for name, value in values.items() if name not in FITTED} == pytest.approx(
        {
            "accuracy": 7 / 10,
            "sensitivity": 3 / 4,
            "specificity": 4 / 6,
            "balanced_accuracy": (3 / 4 + 4 / 6) / 2,
            "majority_accuracy": 6 / 10,
            "ppv": 3 / 5,
            "npv": 4 / 5,
            "lr_positive": (3 / 4) / (2 / 6),
            "lr_negative": (1 / 4) / (4 / 6),
            "f1": 2 * 3 / (2 * 3 + 2 + 1),
            "f1_ASD": 2 / 3,
            "f1_non-ASD": 2 * 4 / (2 * 4 + 1 + 2),
            "f1_macro": (2 / 3 + 8 / 11) / 2,
            "f1_weighted": (4 * 2 / 3 + 6 * 8 / 11) / 10,
            "mcc": (3 * 4 - 1 * 2) / math.sqrt(4 * 6 * 5 * 5),
            # agreement 0.7; by chance (4 * 5 + 6 * 5) / 100 = 0.5
            "kappa": (0.7 - 0.5) / (1 - 0.5),
            # pairs won: 0.9 and 0.8 beat all 6; 0.6 beats 5; 0.2 beats 1 and ties 1
            "auroc": (6 + 6 + 5 + 1.5) / 24,
            # precision where each ASD is reached: 1 of 1, 2 of 2, 3 of 4, 4 of 9 (a tie)
            "auprc": (1 + 1 + 3 / 4 + 4 / 9) / 4,
            # squared errors of ASD 0.01, 0.04, 0.16, 0.64; of the others 1.04 together
            "brier": (0.85 + 1.04) / 10,
            "loss": -(
                math.log(0.9 * 0.8 * 0.6 * 0.2) / 4
                + math.log(0.3 * 0.5 * 0.6 * 0.7 * 0.8 * 0.9) / 6
            )
            / 2,
        },
        abs=1e-6,
    )


def test_the_other_positive_class_swaps_sensitivity_and_specificity():
    rows = two_class_table([(0, "a", "ASD", 0.9), (0, "b", "ASD", 0.3), (0, "c", "non-ASD", 0.2)])
    values = metric_values(cases_of(rows, positive_class="non-ASD"))
    assert (values["sensitivity"], values["specificity"], values["f1"]) == pytest.approx(
        (1.0, 0.5, 2 / 3), abs=1e-6
    )


def test_three_classes_by_hand():
    # predicted:  ASD DHS LCS
    # true ASD     2   1   0
    # true DHS     0   1   1
    # true LCS     1   0   4
    expected = [[2, 1, 0], [0, 1, 1], [1, 0, 4]]
    sure = {0: (0.8, 0.1, 0.1), 1: (0.1, 0.8, 0.1), 2: (0.1, 0.1, 0.8)}
    rows = pd.DataFrame(
        [
            clip(0, "test", f"{true}{predicted}{i}", THREE[true], sure[predicted], classes=THREE)
            for true in range(3)
            for predicted in range(3)
            for i in range(expected[true][predicted])
        ]
    )
    assert confusion_counts(cases_of(rows, THREE)).tolist() == expected
    values = metric_values(cases_of(rows, THREE))
    of_classes = {
        "sensitivity": (2 / 3, 1 / 2, 4 / 5),
        "specificity": (6 / 7, 7 / 8, 4 / 5),
        "ppv": (2 / 3, 1 / 2, 4 / 5),
        "npv": (6 / 7, 7 / 8, 4 / 5),
        "f1": (2 / 3, 1 / 2, 4 / 5),
        # One against the rest with two-valued scores: (sensitivity + specificity) / 2.
        "auroc": ((2 / 3 + 6 / 7) / 2, (1 / 2 + 7 / 8) / 2, (4 / 5 + 4 / 5) / 2),
        # Recall at the first value times its precision, the rest times the prevalence.
        "auprc": (4 / 9 + 0.3 / 3, 1 / 4 + 0.2 / 2, 16 / 25 + 0.5 / 5),
    }
    expected = {
        f"{metric}_{name}": value
        for metric, of_class in of_classes.items()
        for name, value in zip(THREE, of_class, strict=True)
    }
    expected |= {metric: sum(of_class) / 3 for metric, of_class in of_classes.items()}
    assert {name: value for name, value in values.items() if name not in FITTED} == pytest.approx(
        expected
        | {
            "accuracy": 7 / 10,
            "majority_accuracy": 5 / 10,
            "balanced_accuracy": (2 / 3 + 1 / 2 + 4 / 5) / 3,
            "f1_macro": (2 / 3 + 1 / 2 + 4 / 5) / 3,
            "f1_weighted": 0.3 * 2 / 3 + 0.2 / 2 + 0.5 * 4 / 5,
            # 7 hits of 10; margins 3, 2, 5 both ways
            "mcc": (7 * 10 - (9 + 4 + 25)) / (100 - (9 + 4 + 25)),
            # agreement 0.7; by chance (3 * 3 + 2 * 2 + 5 * 5) / 100 = 0.38
            "kappa": (0.7 - 0.38) / (1 - 0.38),
            # right: 0.04 + 0.01 + 0.01; wrong: 0.64 + 0.81 + 0.01
            "brier": (7 * 0.06 + 3 * 1.46) / 10,
            "loss": -(
                math.log(0.8 * 0.8 * 0.1) / 3 + math.log(0.8 * 0.1) / 2 + math.log(0.8**4 * 0.1) / 5
            )
            / 3,
        },
        abs=1e-6,
    )


@pytest.mark.parametrize("classes", [CLASSES, THREE])
@pytest.mark.parametrize("unit", ["clip", "video", "patient"])
def test_metrics_agree_with_scikit_learn(classes, unit):
    table = random_table(classes, 30, 0.8)
    predictions = Predictions(table, classes, "ASD")
    thresholds, cases = predictions.thresholds, predictions.cases("test", unit)
    rows = cases.rows
    probabilities = rows[[f"probability_{name}" for name in classes]].to_numpy()
    if len(classes) == 2:
        cut = rows["fold"].map(thresholds)
        decided = np.where(probabilities[:, 0] >= cut, "ASD", "non-ASD")
        auroc = sklearn_metrics.roc_auc_score(rows["label"] == "ASD", probabilities[:, 0])
        average = {"pos_label": "ASD", "average": "binary"}
    else:
        decided = np.array(classes)[probabilities.argmax(axis=1)]
        auroc = sklearn_metrics.roc_auc_score(rows["label"], probabilities, multi_class="ovr")
        average = {"average": "macro"}
    truth = rows["label"]
    expected = {
        "auroc": auroc,
        "accuracy": sklearn_metrics.accuracy_score(truth, decided),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, decided),
        "f1": sklearn_metrics.f1_score(truth, decided, **average),
        "sensitivity": sklearn_metrics.recall_score(truth, decided, **average),
        "kappa": sklearn_metrics.cohen_kappa_score(truth, decided),
        "mcc": sklearn_metrics.matthews_corrcoef(truth, decided),
        "ppv": sklearn_metrics.precision_score(truth, decided, **average),
        "f1_macro": sklearn_metrics.f1_score(truth, decided, average="macro"),
        "f1_weighted": sklearn_metrics.f1_score(truth, decided, average="weighted"),
        "auprc": np.mean(
            [
                sklearn_metrics.average_precision_score(truth == name, probabilities[:, index])
                for index, name in enumerate(classes[: 1 if len(classes) == 2 else None])
            ]
        ),
        "loss": sklearn_metrics.log_loss(
            truth, probabilities, sample_weight=1 / truth.map(truth.value_counts())
        ),
    }
    if len(classes) == 2:
        ratios = sklearn_metrics.class_likelihood_ratios(truth == "ASD", decided == "ASD")
        expected |= {"lr_positive": ratios[0], "lr_negative": ratios[1]}
    for name, score in zip(
        classes, sklearn_metrics.f1_score(truth, decided, average=None), strict=True
    ):
        expected[f"f1_{name}"] = score
    values = metric_values(cases)
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("classes", [CLASSES, THREE])
def test_names_are_complete(classes):
    table = random_table(classes, 60, 0.7)
    units = [
        f"{split}/{unit}" for split in ("val", "test") for unit in ("clip", "video", "patient")
    ]
    ratios = {"lr_positive", "lr_negative"}
    metrics = METRICS.keys() - (set() if len(classes) == 2 else ratios)
    several = ["auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "f1"]
    of_classes = {f"{metric}_{c}" for metric in several for c in classes}
    if len(classes) == 2:
        of_classes = {f"f1_{c}" for c in classes}
    sure = {"majority_accuracy", "ece", "loss", "calibration_slope", "calibration_intercept"}
    with_limits = (metrics | of_classes) - sure
    expected = {
        *(f"{unit}/{metric}" for unit in units for metric in metrics | of_classes),
        *(f"{unit}/{metric}_fold_{of}" for unit in units for metric in metrics for of in SPREADS),
        *(f"{u}/{m}_ci_{end}" for u in units[3:] for m in with_limits for end in ("low", "high")),
        *(f"{unit}/{metric}_scaled" for unit in units[3:] for metric in ("brier", "ece", "loss")),
        *(f"{unit}/auroc_permutation_p" for unit in units[3:]),
    }
    values = evaluate(decided_at(HALF, table, classes))
    assert {name for name in values if not name.endswith("_fold_count")} == expected
    assert all(math.isfinite(value) for value in values.values())
    for name in with_limits:
        for unit in units[3:]:
            low, high = (values[f"{unit}/{name}_ci_{end}"] for end in ("low", "high"))
            assert low < values[f"{unit}/{name}"] < high


def test_pooled_is_not_the_fold_mean():
    # Each fold ranks its patients perfectly, but fold 1 scores everybody higher.
    table = two_class_table(
        [
            (0, "a", "ASD", 0.4),
            (0, "b", "non-ASD", 0.2),
            (1, "c", "ASD", 0.9),
            (1, "d", "non-ASD", 0.6),
            (1, "e", "non-ASD", 0.7),
        ]
    )
    values = evaluate(decided_at({0: 0.3, 1: 0.65}, table))
    # Pooled pairs: c wins 3, a wins against b only: 4 of 6.
    assert values["test/patient/auroc"] == pytest.approx(4 / 6, abs=1e-6)
    assert values["test/patient/auroc_fold_mean"] == 1.0
    assert values["test/patient/auroc_fold_sd"] == 0.0
    # Each judged by its own fold's threshold: only e is wrong.
    assert values["test/patient/accuracy"] == pytest.approx(4 / 5)
    assert values["test/patient/accuracy_fold_mean"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)
    # SD of 1 and 2/3 with n - 1: their difference / sqrt(2).
    sd = (1 / 3) / math.sqrt(2)
    assert values["test/patient/accuracy_fold_sd"] == pytest.approx(sd, abs=1e-6)
    assert "val/patient/auroc" not in values
    # Undefined in both folds: nothing separated has a slope, nothing has a false alarm.
    assert values["test/patient/calibration_slope_fold_count"] == 0
    assert "test/patient/auroc_fold_count" not in values


def test_a_fold_without_a_class_does_not_count_where_it_is_undefined():
    table = two_class_table(
        [
            (0, "a", "ASD", 0.4),
            (0, "b", "non-ASD", 0.6),
            (1, "c", "ASD", 0.9),
            (1, "d", "non-ASD", 0.1),
            (2, "e", "ASD", 0.8),
        ]
    )
    values = evaluate(decided_at(HALF, table))
    assert values["test/patient/auroc_fold_mean"] == 0.5  # of 0 and 1
    assert values["test/patient/auroc_fold_count"] == 2
    assert values["test/patient/specificity_fold_count"] == 2
    assert values["test/patient/sensitivity_fold_mean"] == pytest.approx(2 / 3)  # of 0, 1 and 1
    assert "test/patient/sensitivity_fold_count" not in values
    assert "test/patient/accuracy_fold_count" not in values


def test_what_one_class_leaves_undefined_is_left_out():
    table = two_class_table([(0, "a", "ASD", 0.9), (1, "b", "ASD", 0.1)])
    values = evaluate(decided_at(HALF, table))
    pooled = {name.rsplit("/")[-1] for name in values if "fold" not in name}
    pooled = {name for name in pooled if "_ci_" not in name}
    always = {"accuracy", "majority_accuracy", "brier", "ece", "loss"}
    f1 = {"f1", "f1_ASD", "f1_weighted"}
    # One was called ASD, one was not: of that one it is known that it is wrong.
    assert pooled == {*always, *f1, "sensitivity", "ppv", "npv"}
    assert values["test/clip/auroc_fold_count"] == 0
    assert "test/clip/auroc_fold_mean" not in values
    assert "test/clip/auroc_ci_low" not in values


def test_one_fold_has_no_standard_deviation():
    table = two_class_table([(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.1)])
    values = evaluate(decided_at(HALF, table))
    assert values["test/clip/auroc_fold_mean"] == 1.0
    assert not any(name.endswith("_fold_sd") for name in values)


def pooled_names(rows: pd.DataFrame) -> set[str]:
    return METRICS.keys() & metric_values(cases_of(rows, THREE)).keys()


def test_three_class_averages_need_every_class():
    rows = random_table(THREE, 30, 1.0)
    rows = rows[rows["label"] != "LCS"]
    always = {"accuracy", "majority_accuracy", "brier", "ece", "loss", "f1_weighted"}
    assert pooled_names(rows) == {*always, "kappa", "mcc"}
    assert pooled_names(rows.iloc[:1]) == always
    assert metric_values(cases_of(rows.iloc[:0], THREE)) == {}


def test_calling_everything_one_class_is_worth_nothing():
    cases = [(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.8), (0, "c", "non-ASD", 0.7)]
    values = metric_values(cases_of(two_class_table(cases)))
    assert (values["mcc"], values["kappa"], values["balanced_accuracy"]) == (0, 0, 0.5)
    assert values["lr_positive"] == 1
    assert "npv" not in values and "lr_negative" not in values


def test_without_a_false_alarm_the_likelihood_ratio_is_infinite_and_left_out():
    values = metric_values(
        cases_of(two_class_table([(0, "a", "ASD", 0.9), (0, "b", "non-ASD", 0.1)]))
    )
    assert "lr_positive" not in values
    assert values["lr_negative"] == 0


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["ASD", "non-ASD"], ["ASD", "non-ASD"]),
        (["Morbus (a)", "b/c", "\u5065\u5e38"], ["Morbus _a_", "b_c", "\u5065\u5e38"]),
        (["a%", "a?", "macro"], ["a__1", "a__2", "macro_3"]),
        (["x" * 300, "y"], ["x" * 100, "y"]),
    ],
)
def test_metrics_of_classes_have_names_that_can_be_logged(classes, names):
    assert cases_of(pd.DataFrame(), classes).names == names
    for name in names:
        validate_metric_name(f"test/patient/sensitivity_{name}_ci_high")


def test_order_of_rows_does_not_matter():
    table = random_table(CLASSES, 20, 1.0)
    shuffled = table.sample(frac=1, random_state=0)
    assert evaluate(decided_at(HALF, shuffled)) == evaluate(decided_at(HALF, table))


def test_bad_input_is_refused():
    table = two_class_table([(0, "a", "ASD", 0.9), (3, "b", "non-ASD", 0.1)])
    with pytest.raises(ValueError, match="every fold needs a threshold, fold 3 has none"):
        evaluate(decided_at({0: 0.5}, table))
    with pytest.raises(ValueError, match="lacks the columns fold"):
        evaluate(decided_at(HALF, table.drop(columns="fold")))
