"""Trials end in the state that they deserve, and none takes another with it."""

from dataclasses import replace

import optuna
import pytest
import requests
from mlflow.exceptions import MlflowException
from optuna.trial import TrialState

from asd_experiments.pseudonyms import Pseudonyms
from asd_experiments.search import local
from asd_experiments.search import study as studies
from asd_experiments.search.choosing import Pruning, pruner_of, pruning_of, sampler_of
from asd_experiments.search.local import Work
from asd_experiments.search.objective import Task, _Reporter, values_of
from asd_experiments.search.reader import load_space
from asd_experiments.search.settings import Pruner, Sampler
from asd_experiments.tracking.runs import PrunedError

SPACE = """
objective: {metric: val/patient/auroc, direction: maximize}
sampler: random
budget: {trials: 4}
fixed: {epochs: 2, folds: 2, inner_folds: 2}
parameters:
  learning_rate: {low: 1e-4, high: 1e-2, log: true}
"""


@pytest.fixture
def space(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    return load_space(file)


@pytest.fixture
def work(tmp_path, space):
    task = Task(
        sweep_run_id="sweep",
        tracking_uri="unused",
        store="unused",
        is_demo=False,
        folder=str(tmp_path),
        device="cpu",
        loader_workers=0,
        metrics=("val/patient/auroc",),
    )
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = studies.make_study(storage, "s", {"val/patient/auroc": "maximize"})
    studies.enqueue(study, [{}] * 4)
    return Work(task=task, space=space, storage=storage, study="s", pruning=None)


def test_the_error_of_a_trial_names_nobody(work, capsys):
    """It goes to the table of trials in MLflow."""

    def configuration(task, key, parameters, report):
        raise RuntimeError("patient 'P01' " + "x" * 600)

    task = replace(work.task, pseudonyms=Pseudonyms(bytes(32), ["P01"]))
    local.run_trials(replace(work, task=task, run=configuration))
    told = work.open().trials[0].user_attrs[studies.ERROR]
    assert told.startswith(f"RuntimeError: patient '{task.pseudonyms.patient('P01')}' xx")
    assert "P01" not in capsys.readouterr().err


def test_every_trial_ends_in_its_own_state(work, capsys):
    ends = iter([0.7, PrunedError("after 2 epochs"), RuntimeError("CUDA out of memory"), 0.9])
    seen = []

    def configuration(task, key, parameters, report):
        seen.append((key, parameters))
        if isinstance(end := next(ends), Exception):
            raise end
        return (end,)

    local.run_trials(replace(work, run=configuration))
    study = work.open()
    assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]
    assert study.best_value == 0.9
    assert study.trials[2].user_attrs[studies.ERROR] == "RuntimeError: CUDA out of memory"
    assert [key for key, _ in seen] == ["0", "1", "2", "3"]
    assert all(p["epochs"] == 2 and 1e-4 <= p["learning_rate"] <= 1e-2 for _, p in seen)
    assert "trial 2: failed, RuntimeError: CUDA out of memory" in capsys.readouterr().err


def test_a_lost_tracking_server_costs_no_trial(work):
    def configuration(task, key, parameters, report):
        try:
            raise requests.exceptions.ConnectionError("connection refused")
        except requests.exceptions.ConnectionError as error:
            raise MlflowException("API request failed") from error

    with pytest.raises(MlflowException):
        local.run_trials(replace(work, run=configuration))
    states = [trial.state.name for trial in work.open().trials]
    assert states == ["FAIL", "WAITING", "WAITING", "WAITING", "WAITING"]


def test_no_trial_begins_after_the_deadline(work):
    local.run_trials(replace(work, deadline=0.0))
    assert {trial.state for trial in work.open().trials} == {TrialState.WAITING}


def test_a_bad_trial_is_stopped_by_what_it_reports(work):
    losses = iter([0.1, 0.2, 0.9, 0.8])

    def configuration(task, key, parameters, report):
        loss = next(losses)
        for step in (1, 2):
            report(step, loss)
        return (1 - loss,)

    pruning = Pruning(first=1, last=4, keeps_one_in=2, brackets=1)
    local.run_trials(replace(work, run=configuration, pruning=pruning))
    trials = work.open().trials
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    assert trials[2].intermediate_values == {1: -0.9}


def test_the_report_is_the_mean_of_the_best_losses_of_the_folds_so_far():
    reports = []
    reporter = _Reporter(lambda *report: reports.append(report), epochs=10)
    for fold, loss in [(0, 0.8), (0, 0.6), (0, 0.7), (1, 1.0), (1, 0.4)]:
        reporter.epoch(fold, loss)
    means = [0.8, 0.6, 0.6, (0.6 + 1.0) / 2, (0.6 + 0.4) / 2]
    assert reports == [(s, pytest.approx(m)) for s, m in zip([1, 2, 3, 11, 12], means, strict=True)]


def test_a_search_sees_no_test_metric():
    metrics = {"val/patient/auroc": 0.8, "test/patient/auroc": 0.9}
    assert values_of(metrics, ["val/patient/auroc"]) == (0.8,)
    with pytest.raises(ValueError, match=r"judges by val/\.\.\. alone, got test/patient/auroc"):
        values_of(metrics, ["test/patient/auroc"])
    with pytest.raises(ValueError, match="val/patient/f1 is undefined on these patients"):
        values_of(metrics, ["val/patient/f1"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Pruner(), None),
        (Pruner("asha"), Pruning(10, 50, 3, 1)),
        (Pruner("asha", min_epochs=2, reduction_factor=4), Pruning(2, 50, 4, 1)),
        (Pruner("hyperband", min_epochs=5), Pruning(5, 50, 3, 3)),
    ],
)
def test_the_first_check_comes_after_the_first_fold_unless_it_is_said(settings, expected):
    pruning = pruning_of(settings, epochs=10, folds=5)
    assert pruning == expected
    assert (
        type(pruner_of(pruning)).__name__
        == {
            "none": "NopPruner",
            "asha": "SuccessiveHalvingPruner",
            "hyperband": "HyperbandPruner",
        }[settings.name]
    )


@pytest.mark.parametrize("name", ["tpe", "random", "grid", "qmc", "nsga2", "gp"])
def test_a_trial_draws_the_same_whichever_process_draws_it(name):
    """So a sweep that goes on after a crash draws what it would have drawn."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {name: optuna.distributions.FloatDistribution(0, 1) for name in ("x", "y")}

    def drawn(*, processes):
        study = optuna.create_study(sampler=sampler_of(Sampler(name)))
        params = []
        for number in range(4):
            if processes == "one each":
                study.sampler = sampler_of(Sampler(name))
            trial = study.ask(space)
            study.tell(trial, float(number))
            params.append((trial.params["x"], trial.params["y"]))
        return params

    assert drawn(processes="one") == drawn(processes="one each")
    assert len(set(drawn(processes="one"))) == 4
