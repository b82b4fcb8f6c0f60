"""The command on a registry with three trials, and what a reader finds in MLflow."""

import json
import re
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from asd_experiments.config import REGISTERED_MODEL, PromoteConfig
from asd_experiments.errors import InputError
from asd_experiments.registry.promote import promote
from asd_experiments.tracking.anonymity import ANONYMISED
from tests.reporting.builders import predictions

from .builders import log_trial

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trials(tracking):
    """A weak trial, a strong one and one that is hardly better than that."""
    effects = {"weak": 0.2, "strong": 1.6, "other": 1.7}
    return {
        name: log_trial(predictions(effect, seed=seed), name=name)
        for seed, (name, effect) in enumerate(effects.items())
    }


@pytest.fixture(scope="module")
def first(trials):
    """Run of the promotion that registered the weak trial, where there was no champion."""
    return promote(PromoteConfig(run=trials["weak"]))


@pytest.fixture(scope="module")
def second(first, trials):
    """Run of the promotion that compared the strong trial with it."""
    with pytest.raises(mlflow.exceptions.MlflowException, match="champion"):
        version("champion")
    promote(PromoteConfig(version="1", yes=True))
    return promote(PromoteConfig(run=trials["strong"]))


def version(alias: str):
    return MlflowClient().get_model_version_by_alias(REGISTERED_MODEL, alias)


def note(run_id: str) -> str:
    return MlflowClient().get_run(run_id).data.tags["mlflow.note.content"]


def refusal(**parameters: object) -> str:
    before = len(MlflowClient().search_model_versions())
    with pytest.raises(InputError) as caught:
        promote(PromoteConfig(**parameters))
    assert len(MlflowClient().search_model_versions()) == before
    return str(caught.value)


def test_a_trial_is_registered_with_its_card(first, trials):
    run = MlflowClient().get_run(first)
    assert (run.info.status, run.data.tags["asd.level"]) == ("FINISHED", "promotion")
    assert "No version has the alias champion: there is nothing to compare with" in note(first)
    registered = MlflowClient().get_model_version(REGISTERED_MODEL, "1")
    assert registered.run_id == registered.tags["asd.trial_run"] == trials["weak"]
    assert registered.tags["asd.model_card"] == f"runs:/{trials['weak']}/model_card.html"
    assert "Model card: asd-two-stream version 1" in text_of(trials["weak"], "model_card.html")
    assert "## Intended use" in registered.description and len(registered.description) <= 5000


def test_a_version_is_compared_with_the_champion(second, trials):
    assert str(version("champion").version) == "1"
    candidate = version("candidate")
    assert str(candidate.version) == "2"
    for text in (note(second), candidate.description):
        assert "version 2 beside version 1, the champion" in text
        assert "The alias champion stays with version 1: no rule= and no yes=true" in text
        assert "By AUROC version 2 is better than version 1 (95 % interval" in text
        assert "Comparison 1 with these test patients." in text
    record = json.loads(candidate.tags["asd.compared_with/1"])
    assert (record["number"], record["run"], record["moved"]) == (1, second, False)
    assert record["trials"] == sorted([trials["weak"], trials["strong"]])
    numbers = pd.read_csv(MlflowClient().download_artifacts(second, "comparison.csv"))
    assert list(numbers["test"]) == ["DeLong", "paired bootstrap", "McNemar"]
    logged = MlflowClient().get_run(second).data.metrics
    assert logged["difference/auroc"] == pytest.approx(numbers["difference"][0])
    assert logged["difference/auroc_ci_low"] > 0
    assert record["figures"]["auroc"][0] == pytest.approx(numbers["difference"][0])


def test_a_rule_moves_the_alias_and_comparisons_are_counted(second, trials, capsys):
    promote(PromoteConfig(version="candidate", rule="superior"))
    assert "moves from version 1 to version 2: rule superior" in capsys.readouterr().out
    assert str(version("champion").version) == "2"
    assert "Comparison 1 with" in version("champion").description  # the same pair as before
    promote(PromoteConfig(run=trials["other"], rule="superior"))
    told = capsys.readouterr().out
    assert "Comparison 2 with these test patients" in told
    assert "p, adjusted for 2 comparisons" in told
    assert "(97.5 % interval)" in told and "it does not hold" in told
    assert str(version("champion").version) == "2"
    promote(PromoteConfig(version="3", rule="non_inferior", margin=0.3))
    assert str(version("champion").version) == "3"
    assert len(MlflowClient().search_model_versions()) == 3


def test_no_rule_moves_the_alias_to_collapsed_networks(second, capsys):
    before = str(version("champion").version)
    collapsed = log_trial(predictions(2.5, seed=8))
    MlflowClient().set_tag(collapsed, "asd.collapsed", "folds 2 of 5")
    promote(PromoteConfig(run=collapsed, rule="non_inferior", margin=0.4))
    told = capsys.readouterr().out
    assert "have collapsed (folds 2 of 5), so no rule= moves it" in told
    assert str(version("champion").version) == before


def test_what_somebody_wrote_on_a_version_stays(second):
    client = MlflowClient()
    ours = client.get_model_version(REGISTERED_MODEL, "1").description
    client.update_model_version(REGISTERED_MODEL, "1", f"Seen by the ward.\n\n{ours}")
    promote(PromoteConfig(version="1"))
    text = client.get_model_version(REGISTERED_MODEL, "1").description
    assert text.startswith("Seen by the ward.\n\n[Model card](#/experiments/")
    assert text.count("[Model card](") == 1 and len(text) <= 5000


def test_a_trial_has_one_version_however_often_it_is_named(second, trials):
    promote(PromoteConfig(run=trials["weak"]))
    found = MlflowClient().search_model_versions(f"run_id = '{trials['weak']}'")
    assert [str(known.version) for known in found] == ["1"]


def test_what_cannot_be_promoted_is_told_before_anything_happens(second, trials):
    client = MlflowClient()
    champion = str(version("champion").version)
    assert re.search(r"has no version '9'; it has: 1, 2.*aliases: ", refusal(version="9"))
    assert "has no version 'best'" in refusal(version="best")
    assert "no registered model 'other', only: asd-two-stream" in refusal(version="1", name="other")
    assert "is the champion already" in refusal(version=champion)
    assert "knows no run 'nobody'" in refusal(run="nobody")
    fold = client.create_run("0", tags={"asd.level": "fold"}).info.run_id
    assert "is no trial but a fold" in refusal(run=fold)
    plain = client.create_run("0").info.run_id
    client.create_registered_model("foreign")
    client.create_model_version("foreign", "somewhere", run_id=plain)
    told = refusal(version="1", name="foreign")
    assert "version: foreign version 1: the run" in told and "is no trial" in told
    client.create_model_version("foreign", "somewhere")
    assert "registered without a run" in refusal(version="2", name="foreign")


def test_a_trial_without_a_model_cannot_be_registered(second):
    bare = log_trial(predictions(1.0, seed=9), with_model=False)
    assert "has no model (tag asd.model)" in refusal(run=bare)


def text_of(run_id: str, name: str) -> str:
    return Path(MlflowClient().download_artifacts(run_id, name)).read_text()


def test_a_champion_that_cannot_be_compared_gives_way_to_yes_alone(second, trials):
    run_id = log_trial(predictions(1.0, seed=5), name="hidden")
    MlflowClient().set_tag(run_id, ANONYMISED, "a key")
    assert "the trials name patients differently" in refusal(run=run_id)
    done = promote(PromoteConfig(run=run_id, yes=True))
    assert version("champion").run_id == run_id
    assert "yes=true, without a comparison (the trials name patients differently" in note(done)
