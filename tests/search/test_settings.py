import pytest

from asd_experiments.evaluation.metrics import METRICS
from asd_experiments.search.document import Problems, read_document
from asd_experiments.search.settings import (
    OBJECTIVES,
    Budget,
    Objective,
    Pruner,
    Sampler,
    read_settings,
)


def read(kind, text, *, short=None):
    problems = Problems("f.yaml")
    node = read_document(f"it:\n  {text}\n".encode(), problems).entries["it"]
    settings = read_settings(kind, "it", node, problems, short=short)
    problems.raise_if_any()
    return settings


def test_settings_are_read_with_their_defaults():
    assert read(Sampler, "gp", short="name") == Sampler("gp", seed=0)
    assert read(Sampler, "{name: grid, seed: 7}", short="name") == Sampler("grid", seed=7)
    assert read(Pruner, "none", short="name") == Pruner() and Pruner().keeps_one_in == 3
    assert read(Pruner, "{name: asha, min_epochs: 5, reduction_factor: 4}").keeps_one_in == 4
    assert read(Budget, "{trials: 5, hours: 0.5}").time_seconds == 1800
    assert read(Budget, "{seconds: 90}").time_seconds == 90
    assert read(Budget, "12", short="trials") == Budget(trials=12)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Sampler, "tpee", "f.yaml:2: it: name: should be .* got 'tpee'; did you mean 'tpe'"),
        (Sampler, "{name: tpe, sed: 1}", "f.yaml:2: it: sed: no such setting; did you mean 'seed'"),
        (Sampler, "{seed: -1}", "it: seed: should be greater than or equal to 0, got '-1'"),
        (Sampler, "{seed: [1]}", "it: seed: must be one value, got a list"),
        (Sampler, "[tpe]", "it: must be settings by name, got a list"),
        (Pruner, "null", "it: name: must not be null; leave it out"),
        (Pruner, "{min_epochs: 3}", "it: min_epochs and reduction_factor belong to asha and hyp"),
        (Pruner, "{name: asha, reduction_factor: 1}", "it: reduction_factor: should be greater"),
        (Budget, "{hours: 1, seconds: 2}", "it: hours and seconds say the same; give one of them"),
        (Budget, "{trials: 0}", "it: trials: should be greater than 0, got '0'"),
        (Objective, "{direction: maximize}", "it: must have metric"),
        (
            Objective,
            "{metric: val/patient/auroc, direction: maximise}",
            "it: direction: should be .*; did you mean 'maximize'",
        ),
        (
            Objective,
            "{metric: test/patient/auroc, direction: maximize}",
            "it: metric: must begin with val/, got 'test/patient/auroc': the outer test patients "
            "tell how good the chosen configuration is, so they must not choose it",
        ),
        (
            Objective,
            "{metric: val/patient/aurc, direction: maximize}",
            "it: metric: must be a metric of the inner validation patients, got 'val/patient/aurc'"
            "; did you mean 'val/patient/auroc'",
        ),
        (
            Objective,
            "{metric: val/patient/calibration_slope_fold_mean, direction: maximize}",
            "it: metric: must be one that is better the higher or the lower it is, got "
            "'val/patient/calibration_slope_fold_mean'; choose e.g. 'val/patient/",
        ),
        (
            Objective,
            "{metric: model/gmacs, direction: minimize}",
            "it: metric: must be a metric of the inner validation patients, got 'model/gmacs'; cho",
        ),
        (
            Objective,
            "{metric: val/patient/brier_fold_mean, direction: maximize}",
            "it: direction: val/patient/brier_fold_mean is better the lower it is, so direction "
            "must be minimize, got 'maximize'",
        ),
        (
            Objective,
            "{metric: val/video/f1, direction: minimize}",
            "it: direction: val/video/f1 is better the higher it is, so direction must be maximize",
        ),
    ],
)
def test_wrong_settings_are_refused_by_name(kind, text, message):
    short = {Sampler: "name", Pruner: "name", Budget: "trials"}.get(kind)
    with pytest.raises(ValueError, match=message):
        read(kind, text, short=short)


def test_every_objective_is_of_the_inner_validation_and_has_one_sense():
    assert len(OBJECTIVES) == 3 * 2 * sum(sense is not None for sense in METRICS.values())
    smaller = ("loss", "brier", "ece", "lr_negative")
    lower = {name for name in OBJECTIVES if any(part in name for part in smaller)}
    for name in OBJECTIVES:
        assert name.startswith("val/")
        direction = "minimize" if name in lower else "maximize"
        assert Objective(name, direction).better == direction
