"""States in which runs end."""

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from requests.exceptions import ChunkedEncodingError, ConnectionError, RetryError, Timeout

from asd_experiments.tracking.runs import (
    close_as_killed,
    close_run,
    end_state,
    is_tracker_lost,
    without_login,
)


def family(client: MlflowClient) -> list[str]:
    """A sweep's run with a trial that has ended and its fold, and another trial."""
    experiment = client.create_experiment("family")

    def run(parent: str | None, status: str = "RUNNING") -> str:
        tags = {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
        run_id = client.create_run(experiment, tags=tags).info.run_id
        client.update_run(run_id, status=status)
        return run_id

    sweep = run(None)
    trial = run(sweep, "FINISHED")
    return [sweep, trial, run(trial), run(sweep, "SCHEDULED")]


def test_what_died_is_closed_on_all_levels_and_what_has_ended_stays(project_folder):
    client = MlflowClient()
    runs = family(client)
    close_run(runs[0], "FAILED")
    states = [client.get_run(run_id).info.status for run_id in runs]
    assert states == ["FAILED", "FINISHED", "KILLED", "KILLED"]
    close_as_killed(runs[0])
    assert client.get_run(runs[0]).info.status == "FAILED"
    close_as_killed("unknown to this server")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(0), "KILLED"),
        (SystemExit("wrong"), "FAILED"),
        (SystemExit(1), "FAILED"),
        (ValueError(), "FAILED"),
    ],
)
def test_a_run_that_was_told_to_stop_has_not_failed(error, state):
    assert end_state(error) == state


def test_an_address_is_shown_without_its_login():
    assert without_login("https://" + "me:secret" + "@host:5000/x") == "https://host:5000/x"
    assert without_login("sqlite:////a@b/mlflow.db") == "sqlite:////a@b/mlflow.db"


@pytest.mark.parametrize("error", [ConnectionError, Timeout, RetryError, ChunkedEncodingError])
def test_a_server_that_is_gone_or_breaks_off_is_told_from_a_wrong_request(error):
    """The last when it is killed in the middle of an answer."""
    wrong = MlflowException("400")
    assert not is_tracker_lost(wrong)
    wrong.__context__ = error("broken")
    assert is_tracker_lost(wrong)
