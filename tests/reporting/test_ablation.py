"""The command on a finished sweep, and what a reader finds in MLflow."""

import re
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from pylatexenc.latexwalker import LatexWalker

from asd_experiments.config import AblationConfig
from asd_experiments.errors import InputError
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.metrics import evaluate
from asd_experiments.reporting.ablation import ablation
from asd_experiments.tracking.finished_trial import FinishedTrial
from asd_experiments.tracking.optimism import optimism
from tests.pages import Tags

from .builders import READERS, log_sweep, log_trial, predictions

pytestmark = pytest.mark.slow

GRID = {
    (fusion, backbone, segmentation): effect + better + 0.1 * segmentation
    for fusion, effect in (("appearance_only", 0.2), ("late_average", 1.0))
    for backbone, better in (("c3d_gap", 0.0), ("slow_50", 0.6))
    for segmentation in (True, False)
}


@pytest.fixture(scope="module")
def sweep(tracking):
    return log_sweep(GRID)


@pytest.fixture(scope="module")
def made(sweep):
    """The run of the sweep's ablation."""
    return ablation(AblationConfig(sweep=sweep, published=True))


def trials_of(sweep: str) -> list:
    rule = f"tags.`asd.level` = 'trial' and tags.`mlflow.parentRunId` = '{sweep}'"
    return MlflowClient().search_runs(["0"], rule)


def models_of(run_id: str) -> pd.DataFrame:
    numbers = pd.read_csv(artifact(run_id, "ablation.csv"))
    return numbers[numbers["kind"] == "model"]


def artifact(run_id: str, name: str) -> Path:
    return Path(MlflowClient().download_artifacts(run_id, name))


def refusal(**parameters: object) -> str:
    with pytest.raises(InputError) as caught:
        ablation(AblationConfig(**parameters))
    return str(caught.value)


def test_a_sweep_becomes_a_table_in_every_form(sweep, made):
    client, run_id = MlflowClient(), made
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["asd.level"]) == ("FINISHED", "ablation")
    trials = {trial.info.run_id for trial in trials_of(sweep)}
    assert set(run.data.tags["asd.trials"].split(",")) == trials
    numbers = pd.read_csv(artifact(run_id, "ablation.csv"))
    models = numbers[numbers["kind"] == "model"]
    assert len(models) == len(GRID)
    assert set(numbers.loc[numbers["kind"] == "reader", "method"]) == set(READERS)
    note = run.data.tags["mlflow.note.content"]
    assert note == artifact(run_id, "ablation.md").read_text()
    assert "1,957 clips of one second" in note  # what the published rows are, beside them
    assert "1,957 clips" in artifact(run_id, "ablation.tex").read_text()
    assert (numbers["kind"] == "published").sum() == 9
    assert f"{len(GRID) + 2} trials were run" in note
    assert f"/runs/{sweep}" in note and "#/compare-runs?runs=" in note
    page = artifact(run_id, "ablation.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and tags.seen.count("svg") == 5
    assert not re.search(r"(src|href)=\"(?!#)", page)  # nothing is fetched
    latex = artifact(run_id, "ablation.tex").read_text()
    LatexWalker(latex, tolerant_parsing=False).get_latex_nodes()
    assert all(rule in latex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    widths = {line.count(" & ") for line in latex.splitlines() if line.endswith(r"\\")}
    assert len(widths) == 1
    for name in ("rows_auroc", "rows_f1", "rows_accuracy", "effects", "readers"):
        assert artifact(run_id, f"figures/{name}.png").stat().st_size > 10_000
        assert artifact(run_id, f"figures/{name}.svg").stat().st_size > 5_000
    for _, row in models.iterrows():
        logged = client.get_run(row["run_ids"]).data.metrics
        for metric in ("auroc", "f1", "accuracy"):
            for end in ("", "_ci_low", "_ci_high"):
                assert row[f"{metric}{end}"] == pytest.approx(logged[f"test/patient/{metric}{end}"])


def test_the_reference_is_the_one_that_the_sweep_chose(sweep, made):
    models = models_of(made)
    is_reference = models["is_reference"].astype(bool)
    values = {run.info.run_id: run.data.metrics["val/patient/auroc"] for run in trials_of(sweep)}
    assert models.loc[is_reference, "run_ids"].tolist() == [max(values, key=values.get)]
    reference, others = models[is_reference].iloc[0], models[~is_reference]
    assert pd.isna(reference["auroc_difference"])
    assert others["auroc_difference"].tolist() == pytest.approx(
        (others["auroc"] - reference["auroc"]).tolist()
    )
    assert (others["auroc_p_holm"] >= others["auroc_p"]).all()


def test_the_price_of_choosing_is_told_with_its_interval(sweep, made):
    run = MlflowClient().get_run(made)
    best = max(trials_of(sweep), key=lambda trial: trial.data.metrics["val/patient/auroc"])
    chosen_by, tested = (best.data.metrics[f"{split}/patient/auroc"] for split in ("val", "test"))
    metrics = run.data.metrics
    assert metrics["optimism"] == pytest.approx(chosen_by - tested)
    assert metrics["optimism_ci_low"] < chosen_by - tested < metrics["optimism_ci_high"]
    note = run.data.tags["mlflow.note.content"]
    assert "Report the test figure" in note and "Chosen anew in every fold" in note


def test_the_choice_itself_is_judged_fold_by_fold(tracking):
    """Trials that are good at other folds: each fold is tested by the one that it chooses."""
    good, bad = predictions(2.0, seed=1), predictions(-1.0, seed=2)
    tables = [
        pd.concat([one[one["fold"] < 2], other[other["fold"] >= 2]])
        for one, other in ((good, bad), (bad, good))
    ]
    trials = [FinishedTrial.read(log_trial(table, {})) for table in tables]
    found = optimism(trials[0], "val/patient/loss", trials)
    whole = evaluate(Predictions(good, ["ASD", "non-ASD"], "ASD"))
    assert found.metric == "auroc" and "val/patient/loss" in found.told()
    assert found.nested.value == pytest.approx(whole["test/patient/auroc"])
    assert found.test.value < found.nested.value


@pytest.mark.parametrize("factor", ["fusion", "optical_flow"])
def test_rows_may_be_the_levels_of_parameters(sweep, made, factor):
    run_id = ablation(AblationConfig(sweep=sweep, rows=factor, metrics="auroc"))
    models = models_of(run_id).set_index(factor)
    assert models["num_trials"].tolist() == [4, 4]
    means = models_of(made).groupby(factor)["auroc"].mean()
    assert models["auroc"].to_dict() == pytest.approx(means.to_dict())


def test_effects_are_differences_all_else_being_equal(made):
    effects = pd.read_csv(artifact(made, "effects.csv"))
    assert set(effects["parameter"]) == {"fusion", "backbone", "segmentation", "optical_flow"}
    flow = effects[effects["parameter"] == "optical_flow"].set_index("level")
    assert flow.loc["true", "difference_ci_low"] > 0
    assert flow.loc["true", "difference_to_first"] == pytest.approx(
        flow.loc["true", "mean"] - flow.loc["false", "mean"]
    )
    assert (effects["matched_settings"] == 4).all()


def test_no_row_is_bold_unless_it_is_better_than_every_other(tracking):
    close = [log_trial(predictions(0.9, seed=s), {"seed": s, "width": 1 + s / 10}) for s in (1, 2)]
    client = MlflowClient()
    note = client.get_run(ablation(AblationConfig(runs=",".join(close)))).data.tags[
        "mlflow.note.content"
    ]
    assert "no row differs from the reference" in note and "no proof" in note
    table = note[note.index("| method") :]
    assert "**" not in table
    far = log_trial(predictions(-1.5, seed=3), {"width": 2.0})
    both = ",".join([close[0], far])
    note = client.get_run(ablation(AblationConfig(runs=both))).data.tags["mlflow.note.content"]
    table = note[note.index("| method") :]
    assert "**" in table and "is better than every other row" in note
    losses = models_of(ablation(AblationConfig(runs=both, metrics="brier")))
    is_best = losses["brier_best"].astype(bool)
    assert losses.loc[is_best, "brier"].tolist() == [losses["brier"].min()]


def test_trials_that_differ_in_their_seed_are_one_row(tracking):
    runs = [log_trial(predictions(0.9, seed=s), {"seed": s}) for s in (1, 2)]
    runs.append(log_trial(predictions(0.5, seed=3), {"fusion": "gated"}))
    run_id = ablation(AblationConfig(runs=",".join(runs), metrics="auroc"))
    assert models_of(run_id)["num_trials"].tolist() == [2, 1]


def test_trials_of_an_experiment_are_found_by_a_filter(sweep):
    rule = f"params.backbone = 'slow_50' and tags.`mlflow.parentRunId` = '{sweep}'"
    run_id = ablation(AblationConfig(experiment="Default", filter=rule))
    assert MlflowClient().get_run(run_id).data.metrics["num_trials"] == 4


def test_what_cannot_be_compared_is_refused_before_a_run_is_made(sweep):
    client = MlflowClient()
    trial = trials_of(sweep)[0].info.run_id
    other = log_trial(predictions(0.9), {}, digest="other")
    partial = log_trial(predictions(0.9), {}, state="KILLED")
    before = len(client.search_runs(["0"], "tags.`asd.level` = 'ablation'"))
    assert "knows no run 'nonsense'" in refusal(runs=f"nonsense,{trial}")
    assert "is no trial but a sweep" in refusal(runs=f"{sweep},{trial}")
    assert "is no sweep but a trial" in refusal(sweep=trial)
    assert "is KILLED, so its figures are partial" in refusal(runs=f"{partial},{trial}")
    assert "at least two finished trials, found 1" in refusal(runs=trial)
    swapped = log_trial(predictions(0.9), {}, positive_class="non-ASD")
    assert "were positive_class and group_by the same?" in refusal(runs=f"{swapped},{trial}")
    assert "different clip stores" in refusal(runs=f"{other},{trial}")
    assert "unknown metric 'auc'" in refusal(sweep=sweep, metrics="auc")
    assert "unknown parameter 'fusoin'; did you mean" in refusal(sweep=sweep, rows="fusoin")
    assert "width is the same in all trials" in refusal(sweep=sweep, rows="width")
    assert "no row or run is called 'best'" in refusal(sweep=sweep, reference="best")
    assert "there is no 'nowhere'" in refusal(experiment="nowhere")
    assert "is refused by MLflow" in refusal(experiment="Default", filter="nonsense")
    assert len(client.search_runs(["0"], "tags.`asd.level` = 'ablation'")) == before


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "give one of sweep=, runs= and experiment=, got none"),
        ({"sweep": "a", "runs": "b"}, "got sweep and runs"),
        ({"sweep": "a", "filter": "b"}, "belongs to experiment="),
    ],
)
def test_one_source_of_trials_is_asked_for(parameters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        AblationConfig(**parameters)
