"""The queue of trials, and the true end of every trial."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import optuna
import pytest
from mlflow.tracking import MlflowClient
from optuna.storages._rdb import models
from optuna.trial import TrialState

from asd_experiments.errors import InputError
from asd_experiments.search import study as studies

SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


def made(url, *, trials=3, direction="minimize"):
    study = studies.make_study(url, "s", {"value": direction})
    studies.enqueue(study, [{} for _ in range(trials)])
    return study


def states(study):
    return [trial.state.name for trial in study.trials]


def test_every_waiting_trial_is_taken_once_and_no_more_than_wait(url):
    made(url, trials=7)
    handles = [studies.open_study(url, "s") for _ in range(4)]

    def take_all(study):
        taken = []
        while (trial := studies.claim(study)) is not None:
            taken.append(trial.number)
            study.tell(trial, 0.0)
        return taken

    with ThreadPoolExecutor(4) as threads:
        taken = [number for numbers in threads.map(take_all, handles) for number in numbers]
    assert sorted(taken) == list(range(7))
    assert studies.is_done(handles[0]) and len(handles[0].trials) == 7


def test_what_waits_with_values_is_run_with_them(url):
    study = studies.make_study(url, "s", {"value": "minimize"})
    studies.enqueue(study, [{"x": 0.25}])
    trial = studies.claim(study)
    assert trial.suggest_float("x", 0, 1) == 0.25


def test_what_waits_since_a_handle_last_looked_is_taken_with_its_parameters(url):
    study = made(url, trials=1)
    other = studies.open_study(url, "s")
    assert studies.claim(other).suggest_float("x", 0, 1) <= 1
    studies.enqueue(study, [{"x": 0.25}])
    assert studies.claim(other).suggest_float("x", 0, 1) == 0.25


def test_a_trial_of_a_dead_process_waits_again_under_the_same_key(url):
    study = made(url, trials=1)
    keys = []
    for attempt in range(studies.MAX_RETRIES + 1):
        trial = studies.claim(study)
        assert trial.number == attempt
        keys.append(studies.key_of(trial))
        trial.suggest_float("x", 0, 1)
        studies.beat(study, trial)
        silence(study, trial)
    assert studies.claim(study) is None
    assert keys == ["0"] * (studies.MAX_RETRIES + 1)
    assert states(study) == ["FAIL"] * (studies.MAX_RETRIES + 1)
    assert len({trial.params["x"] for trial in study.trials}) == 1


def silence(study, trial):
    """Make the last sign of life old."""
    storage = study._storage
    storage = getattr(storage, "_backend", storage)
    with storage.scoped_session() as session:
        beat = session.query(models.TrialHeartbeatModel).filter_by(trial_id=trial._trial_id).one()
        beat.heartbeat = datetime.now() - timedelta(days=1)
        session.commit()


def test_a_trial_that_is_alive_is_left_alone(url):
    study = made(url, trials=1)
    trial = studies.claim(study)
    with studies.alive(study, trial):
        assert studies.claim(studies.open_study(url, "s")) is None
        assert not studies.is_done(study)


def test_a_released_trial_waits_again(url):
    study = made(url, trials=1)
    first = studies.claim(study)
    x = first.suggest_float("x", 0, 1)
    studies.release(study, first)
    second = studies.claim(study)
    assert studies.key_of(second) == "0" and second.suggest_float("x", 0, 1) == x


def test_stops_do_not_count_as_deaths(url):
    study = made(url, trials=1)
    for _ in range(studies.MAX_RETRIES + 1):
        studies.release(study, studies.claim(study))
    for _ in range(studies.MAX_RETRIES):
        trial = studies.claim(study)
        studies.beat(study, trial)
        silence(study, trial)
    assert studies.key_of(studies.claim(study)) == "0"


def test_what_a_dead_leader_held_waits_again_at_once(url):
    study = made(url, trials=3)
    for _ in range(2):
        studies.beat(study, studies.claim(study))
    studies.release_all(studies.open_study(url, "s"))
    keys = [studies.key_of(studies.claim(study)) for _ in range(3)]
    assert sorted(keys) == ["0", "1", "2"] and studies.claim(study) is None


def test_losses_are_reversed_where_large_values_are_good(url, tmp_path):
    assert studies.signed(made(url), 0.5) == 0.5
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert studies.signed(made(other, direction="maximize"), 0.5) == -0.5


def address(scheme):
    return f"{scheme}://me:{'secret'}@nohost.invalid/x"


def test_a_study_or_database_that_cannot_be_had_is_named_without_a_password(url, tmp_path):
    made(url)
    with pytest.raises(InputError, match=r"storage: there is no study 'other' in sqlite://"):
        studies.open_study(url, "other")
    with pytest.raises(InputError, match=r"storage: postgresql://nohost\.invalid/x cannot be used"):
        studies.make_study(address("postgresql"), "s", {"value": "minimize"})
    with pytest.raises(InputError) as caught:
        studies.make_study(address("nonsense"), "s", {"value": "minimize"})
    assert "secret" not in str(caught.value)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    MlflowClient(uri).search_experiments()
    with pytest.raises(InputError, match="a database of the studies' own, not MLflow's"):
        studies.make_study(uri, "s", {"value": "minimize"})
    assert TrialState.WAITING in {trial.state for trial in studies.open_study(url, "s").trials}
