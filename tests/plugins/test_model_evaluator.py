"""MLflow's evaluator `asd` on tables that have nothing to do with this project."""

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models.evaluation.base import EvaluationResult, resolve_evaluators_and_configs
from sklearn.metrics import confusion_matrix, roc_auc_score

from asd_experiments.errors import InputError
from asd_experiments.evaluation.metrics import judged, metric_values
from asd_experiments.plugins.model_evaluator import ClinicalEvaluator
from asd_experiments.plugins.model_evaluator.judge import decision_rule
from asd_experiments.plugins.model_evaluator.settings import EvaluatorConfig, read_config
from asd_experiments.plugins.model_evaluator.table import PredictionTable, read_table

CONFIG = {"group": "who", "positive_class": "sick"}
THREE = ("hip", "knee", "spine")


def two_classes(num_groups: int = 20) -> pd.DataFrame:
    """Groups of two to four rows; every fourth group scores like the other class."""
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(num_groups), 2 + np.arange(num_groups) % 3)
    sick = who % 2 == 0
    shown = sick ^ (who % 4 == 3)
    score = np.clip(np.where(shown, 0.7, 0.3) + rng.normal(0, 0.2, len(who)), 0, 1)
    return pd.DataFrame({"who": who, "truth": np.where(sick, "sick", "well"), "p": score})


def three_classes() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    who = np.repeat(np.arange(30), 2)
    truth = who % 3
    scores = rng.dirichlet([1, 1, 1], len(who)) + np.eye(3)[truth] * 0.5
    scores /= scores.sum(axis=1, keepdims=True)
    table = pd.DataFrame(scores, columns=[f"probability_{name}" for name in THREE])
    return table.assign(who=[f"P{n}" for n in who], truth=np.array(THREE)[truth])


def read(table: pd.DataFrame, predictions: str | None = "p", **config: object) -> PredictionTable:
    """Read a table as MLflow hands it over."""
    features = table.drop(columns=["truth", *([predictions] if predictions else [])])
    scores = None if predictions is None else table[predictions].to_numpy()
    return read_table(features, table["truth"].to_numpy(), scores, read_config(config))


class TestTwoClasses:
    def test_rows_are_judged_as_they_are_and_groups_by_their_mean(self):
        table = two_classes()
        means = table.groupby("who").agg(truth=("truth", "first"), p=("p", "mean"))
        read_back = read(table, **CONFIG)
        for unit, rows in (("row", table), ("group", means)):
            metrics = judged(read_back.cases(unit))
            sick = rows["truth"] == "sick"
            assert metrics["auroc"] == pytest.approx(roc_auc_score(sick, rows["p"]))
            (tn, fp), (fn, tp) = confusion_matrix(sick, rows["p"] >= 0.5)
            assert metrics["sensitivity"] == pytest.approx(tp / (tp + fn))
            assert metrics["specificity"] == pytest.approx(tn / (tn + fp))
            assert metrics["auroc_ci_low"] < metrics["auroc"] < metrics["auroc_ci_high"]
        assert len(read_back.cases("row")) == len(table)

    def test_the_interval_of_rows_draws_groups(self):
        """Rows that were repeated tell nothing new; their interval must not shrink."""
        once = two_classes()
        often = pd.concat([once] * 8, ignore_index=True)
        widths = []
        for table in (once, often):
            metrics = judged(read(table, **CONFIG).cases("row"))
            widths.append(metrics["auroc_ci_high"] - metrics["auroc_ci_low"])
        assert widths[1] == pytest.approx(widths[0], rel=0.02)

    @pytest.mark.parametrize(("given", "used"), [({}, 0.5), ({"threshold": 0.9}, 0.9)])
    def test_the_threshold_is_told(self, given, used):
        table = read(two_classes(), **CONFIG, **given)
        assert table.threshold == used
        cases = table.cases("row")
        called = pd.Series(cases.decisions, index=cases.rows["clip_start"]).sort_index()
        assert (called == table.classes.index("sick")).tolist() == (
            two_classes()["p"] >= used
        ).tolist()
        source = "from evaluator_config" if given else "the default"
        expected = f"sick at a probability of {used:g} or above ({source}), else well"
        assert decision_rule(table, read_config({**CONFIG, **given})) == expected

    @pytest.mark.parametrize("positive", [1, 0])
    def test_classes_may_be_numbers(self, positive):
        table = two_classes()
        words = table["truth"]
        table["truth"] = (words == "sick").astype(int)
        table["p"] = table["p"] if positive else 1 - table["p"]
        read_back = read(table, group="who", positive_class=positive)
        assert (read_back.classes, read_back.positive_class) == (["0", "1"], str(positive))
        metrics = judged(read_back.cases("row"))
        assert metrics["auroc"] == pytest.approx(roc_auc_score(words == "sick", two_classes()["p"]))

    def test_columns_of_both_classes_say_the_same_as_one(self):
        table = two_classes().assign(q=lambda own: 1 - own["p"])
        one = metric_values(read(two_classes(), **CONFIG).cases("group"))
        columns = {"well": "q", "sick": "p"}
        both = read(table, None, **CONFIG, probabilities=columns)
        assert both.classes == ["well", "sick"]
        assert metric_values(both.cases("group")) == pytest.approx(one)
        # Another evaluator may want decisions in predictions=.
        decided = table.assign(called="sick")
        also = read(decided, "called", **CONFIG, probabilities=columns)
        assert metric_values(also.cases("group")) == pytest.approx(one)


class TestThreeClasses:
    def test_the_most_probable_class_is_called_and_each_has_its_metrics(self):
        table = three_classes()
        read_back = read(table, None, group="who")
        assert read_back.classes == list(THREE)
        scores = table[[f"probability_{name}" for name in THREE]].to_numpy()
        called = np.array(THREE)[scores.argmax(axis=1)]
        metrics = judged(read_back.cases("row"))
        assert metrics["accuracy"] == pytest.approx((called == table["truth"]).mean())
        assert metrics["auroc_hip"] == pytest.approx(
            roc_auc_score(table["truth"] == "hip", scores[:, 0])
        )
        assert decision_rule(read_back, EvaluatorConfig("who")) == "the most probable class"

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"threshold": 0.5}, r"threshold: for two classes alone, and there are 3 \(hip, knee"),
            ({"threshold": 0.5, "positive_class": "hip"}, "positive_class and threshold: for two"),
        ],
    )
    def test_what_only_two_classes_have_is_refused(self, given, told):
        with pytest.raises(InputError, match=told):
            read(three_classes(), None, group="who", **given)

    def test_one_column_does_not_tell_three_classes(self):
        table = three_classes().rename(columns={"probability_hip": "p"})
        with pytest.raises(InputError, match=r"targets hold 3 \(hip, knee, spine\); name the col"):
            read(table, group="who", positive_class="hip")


class TestRefusals:
    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({}, r'group: must be given, as in evaluator_config={"group": "patient_id"'),
            ({"grupo": "who"}, "grupo: no such key; did you mean 'group'"),
            ({"group": 3}, "group: .*string.*got 3"),
            ({"group": "who", "threshold": 1.5}, "threshold: .*less than or equal to 1, got 1.5"),
            ({"group": "who", "probabilities": ["p"]}, r"probabilities: .*dictionary.*got \['p'\]"),
            ({"group": "who", "metric_prefix": "a/b"}, "metric_prefix: .*pattern.*got 'a/b'"),
        ],
    )
    def test_a_wrong_configuration_is_named(self, wrong, told):
        with pytest.raises(InputError, match=told):
            read_config(wrong)

    def test_all_wrong_keys_are_told_at_once(self):
        with pytest.raises(InputError, match="3 problems with evaluator_config"):
            read_config({"threshold": 2, "grupo": "who"})
        assert read_config({"group": "who", "col_mapping": {}}) == EvaluatorConfig("who")

    @pytest.mark.parametrize(
        ("config", "told"),
        [
            (
                {"group": "whom"},
                "group: data has no column 'whom'; beside .*: who; did you mean 'who'",
            ),
            ({"group": "who"}, "positive_class: must be given for two .* one of: sick, well"),
            (
                {"group": "who", "positive_class": "sic"},
                "unknown positive_class 'sic'; .*did you mean 'sick'",
            ),
            (
                {**CONFIG, "probabilities": {"sick": "who", "well": "q"}},
                r"probabilities\['well'\]: data has no column 'q'",
            ),
            ({**CONFIG, "probabilities": {"sick": "who"}}, "each of at least two classes, got"),
        ],
    )
    def test_a_configuration_that_does_not_fit_the_table_is_named(self, config, told):
        with pytest.raises(InputError, match=told):
            read(two_classes(), **config)

    def test_without_any_probabilities_the_ways_to_give_them_are_told(self):
        with pytest.raises(InputError, match="no probabilities: name their column by predictions="):
            read(two_classes(), None, **CONFIG)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"who": [1, 1, None, 2]}, "group: column 'who' must not be empty: row 2 "),
            ({"truth": ["sick", "sick", "well", None]}, "targets must not be empty: row 3 "),
            ({"who": [1, 1, 2, 1]}, "a group must have one label, 1 has 'sick', 'well'"),
            ({"p": [0.1, np.nan, 0.2, np.nan]}, "probabilities must not be empty: rows 1, 3 "),
            ({"p": [0.1, 0.5, 1.2, 0.4]}, "must lie between 0 and 1: row 2 "),
            (
                {"p": ["sick", "well", "x", "y"]},
                "predictions must hold probabilities, not .*'sick'",
            ),
            ({"truth": ["sick"] * 4}, r"one of two classes, and targets hold 1 \(sick\)"),
        ],
    )
    def test_wrong_rows_are_named(self, change, told):
        rows = {
            "who": [1, 1, 2, 2],
            "truth": ["sick"] * 2 + ["well"] * 2,
            "p": [0.9, 0.8, 0.1, 0.3],
        }
        read(pd.DataFrame(rows), **CONFIG)  # as it is, it is right
        with pytest.raises(InputError, match=told):
            read(pd.DataFrame({**rows, **change}), **CONFIG)

    def test_probabilities_must_sum_to_one_and_labels_be_among_the_classes(self):
        table = three_classes()
        table.loc[[4, 7], "probability_hip"] += 0.01
        table.loc[9, "truth"] = "elbow"
        with pytest.raises(InputError, match="problems with the prediction table") as caught:
            read(table, None, group="who")
        said = str(caught.value)
        assert "probabilities must sum to 1, not 1.01: rows 4, 7 (counted from 0)" in said
        assert "targets must be one of hip, knee, spine, got 'elbow': row 9" in said
        assert "a group must have one label, 'P4' has 'elbow', 'knee'" in said

    def test_many_wrong_rows_are_counted(self):
        table = two_classes()
        table["p"] = 2.0
        with pytest.raises(InputError, match=r"rows 0, 1, 2, 3, 4 and \d\d more"):
            read(table, **CONFIG)

    def test_an_empty_table_is_refused(self):
        with pytest.raises(InputError, match="data must have at least one row"):
            read(two_classes().head(0), **CONFIG)


# MLflow 3.17 says so of any table with a whole number, and calls pandas 3.1 as it was before.
@pytest.mark.filterwarnings("ignore:Hint. Inferred schema contains integer column:UserWarning")
@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
class TestThroughMlflow:
    """Errors come before anything is computed; that of a right table is in test_docs."""

    def evaluate(self, config: dict | None, **options: object) -> EvaluationResult:
        given = {"data": two_classes(), "targets": "truth", "predictions": "p"}
        given |= {"model_type": "classifier", "evaluators": "asd", "evaluator_config": config}
        return mlflow.models.evaluate(**given | options)

    @pytest.mark.parametrize(
        ("config", "options", "told"),
        [
            (None, {}, "group: must be given, as in evaluator_config="),
            ({"group": "who"}, {}, "positive_class: must be given for two classes"),
            (
                CONFIG,
                {"model_type": "regressor"},
                "judges model_type='classifier', got 'regressor'",
            ),
            (
                CONFIG,
                {"model": lambda rows: rows["who"], "predictions": None},
                "let the model predict first, and give the table by data=",
            ),
            (
                CONFIG,
                {"data": np.eye(2), "targets": np.arange(2), "predictions": None},
                "data must be a pandas DataFrame with a column of groups",
            ),
        ],
    )
    def test_an_error_says_what_to_mend_and_the_run_has_failed(
        self, project_folder, config, options, told
    ):
        with pytest.raises(MlflowException, match=told):
            self.evaluate(config, **options)
        run = mlflow.last_active_run()
        assert run.info.status == "FAILED"
        assert not run.data.metrics

    @pytest.mark.parametrize(
        ("config", "is_meant"),
        [(None, False), ({"log_explainer": True}, False), (CONFIG, True), ({"asd": CONFIG}, True)],
    )
    def test_a_program_that_names_no_evaluator_gets_it_by_naming_a_group(self, config, is_meant):
        chosen = resolve_evaluators_and_configs(None, config, "classifier")
        assert ("asd" in [one.name for one in chosen]) is is_meant
        chosen = resolve_evaluators_and_configs(None, config, "regressor")
        assert "asd" not in [one.name for one in chosen]


def test_it_is_what_mlflow_calls():
    (bundle,) = resolve_evaluators_and_configs("asd", CONFIG, "classifier")
    assert isinstance(bundle.evaluator, ClinicalEvaluator)
