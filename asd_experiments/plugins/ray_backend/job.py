"""A job on a Ray cluster that works on a run in MLflow: followed, stopped, its end told."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from mlflow.exceptions import ExecutionException
from mlflow.projects.submitted_run import SubmittedRun
from mlflow.tracking import MlflowClient
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient
from ray.runtime_env import RuntimeEnv
from ray.util.state import list_nodes

from asd_experiments.errors import InputError, did_you_mean
from asd_experiments.interruption import Interrupted, raise_if_stopped, stop_signals_raise
from asd_experiments.tracking.runs import ERROR, GOES_ON_WITH, close_run

STATES = {
    JobStatus.PENDING: "SCHEDULED",
    JobStatus.RUNNING: "RUNNING",
    JobStatus.SUCCEEDED: "FINISHED",
    JobStatus.STOPPED: "KILLED",
    JobStatus.FAILED: "FAILED",
}
"""State in MLflow of a job in each of Ray's states."""

STOP_SECONDS = 60
"""What a job is given to close its runs in; Ray's own 3 s are too few for a sweep."""

_ANSWER_SECONDS = (10, 120)  # to connect, and between two pieces of an answer
_PATIENCE_SECONDS = 600  # a laptop sleeps, a forwarded port breaks off
_LONGEST_PAUSE_SECONDS = 5.0
_MARGIN_SECONDS = 30

Answer = TypeVar("Answer")


class JobsClient(JobSubmissionClient):
    """Ray's client, which waits for no answer for ever."""

    def _do_request(self, *arguments: Any, **options: Any) -> Any:
        return super()._do_request(*arguments, **{"timeout": _ANSWER_SECONDS, **options})


def connect(address: str) -> JobsClient:
    """Find the cluster that takes jobs at an address.

    Raises:
        InputError: If there is none, or it does not let us in.
    """
    try:
        return JobsClient(address)
    except AuthenticationError as error:
        raise InputError(
            f"the Ray cluster at {address} wants its token: set RAY_AUTH_MODE=token here, and the "
            "token as RAY_AUTH_TOKEN or in the file ~/.ray/auth_token"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"no Ray cluster takes jobs at {address} ({_first_line(error)}); is its dashboard "
            "running? `ray start --head` of ray[default] starts it, for other machines with "
            "--dashboard-host=0.0.0.0; on KubeRay: `kubectl port-forward "
            "service/NAME-head-svc 8265:8265` and http://localhost:8265"
        ) from error


def nodes_of(address: str) -> Iterator[str]:
    """IP addresses of a cluster's nodes."""
    for node in list_nodes(address):
        if node.state == "ALIVE":
            yield node.node_ip


def check_runtime_env(runtime_env: Mapping[str, Any]) -> None:
    """Refuse a runtime environment that Ray would refuse, before anything is done.

    Raises:
        InputError: If Ray does not know a field or a value.
    """
    known = sorted(RuntimeEnv.known_fields | {"excludes"})
    for name in runtime_env:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InputError(f"runtime_env.{name}: Ray has no such field{hint}")
    try:
        RuntimeEnv(**runtime_env)
    except (OSError, TypeError, ValueError) as error:
        raise InputError(f"runtime_env: Ray refuses it: {_first_line(error)}") from error


class RayJobRun(SubmittedRun):
    """A job and the run in MLflow that it works on.

    Whoever looks (`wait`, `get_status`) when the job has ended gives the run its state, if the job
    itself died before it could.
    """

    def __init__(
        self, jobs: JobsClient, job_id: str, run_id: str, stop_seconds: int = STOP_SECONDS
    ) -> None:
        super().__init__()
        self.job_id = job_id
        self._jobs = jobs
        self._run_id = run_id
        self._stop_seconds = stop_seconds
        self._printed = 0
        self._silent_since: float | None = None

    @property
    def run_id(self) -> str:
        """Id of the run in MLflow."""
        return self._run_id

    def get_status(self) -> str:
        """State of the job, in MLflow's words."""
        details = self._jobs.get_job_info(self.job_id)
        if details.status.is_terminal():
            self._settle(details.status, details.message)
        return STATES[details.status]

    def wait(self) -> bool:
        """Print what the job prints, until it ends; a request to stop stops the job.

        Returns:
            Whether it succeeded.

        Raises:
            KeyboardInterrupt: If somebody asked this process to stop; the job is stopped then.
            ExecutionException: If the cluster does not answer any more.
        """
        with stoppable():
            try:
                status, message = self._follow(raise_if_stopped)
            except (Interrupted, KeyboardInterrupt) as error:
                _say(f"{error or 'interrupted'}: stopping the job {self.job_id}")
                self.cancel()
                raise KeyboardInterrupt(str(error)) from error
        self._settle(status, message)
        return status == JobStatus.SUCCEEDED

    def cancel(self) -> None:
        """Stop the job, wait until it has stopped, and close its runs.

        Raises:
            ExecutionException: If it does not stop; its runs stay open then.
        """
        deadline = time.monotonic() + self._stop_seconds + _MARGIN_SECONDS
        heard = False

        def ask_again_or_give_up() -> None:
            nonlocal heard
            heard = heard or self._ask(self._stop) is not None
            if time.monotonic() > deadline:
                raise TimeoutError

        try:
            status, message = self._follow(ask_again_or_give_up)
        except TimeoutError as error:
            details = self._ask(self._details)
            if not isinstance(details, JobDetails) or details.status != JobStatus.PENDING:
                raise ExecutionException(
                    f"the job {self.job_id} does not stop; its run {self.run_id} stays open"
                ) from error
            status, message = JobStatus.STOPPED, None  # Ray stops it as soon as it is set up
        self._settle(status, message)

    def _follow(self, look_up: Callable[[], None]) -> tuple[JobStatus, str | None]:
        """Print what the job prints until it has ended.

        Polling: a websocket that breaks off begins again with the first line.

        Args:
            look_up: Called between two looks at the job; raises to end the following.
        """
        while True:
            look_up()
            started = time.monotonic()
            details = self._ask(self._details)
            if isinstance(details, str):
                return JobStatus.FAILED, details
            if details is not None:
                heard = self._print_news()
                if details.status.is_terminal():
                    if not heard:
                        _say("the last lines that the job printed cannot be read")
                    return details.status, details.message
            seconds = time.monotonic() - started
            time.sleep(min(_LONGEST_PAUSE_SECONDS, max(1.0, 10 * seconds)))

    def _stop(self) -> bool:
        self._jobs.stop_job(self.job_id)
        return True

    def _details(self) -> JobDetails | str:
        """What Ray knows of the job; in words, that it knows nothing."""
        try:
            return self._jobs.get_job_info(self.job_id)
        except RuntimeError as error:
            if "status code 404" in str(error):
                return "the cluster does not know the job any more: it was started anew"
            raise

    def _print_news(self) -> bool:
        """Print what is new; the node that keeps it may be silent for a while: False then."""
        try:
            logs = self._jobs.get_job_logs(self.job_id)
        except (OSError, RuntimeError):
            return False
        print(logs[self._printed :], end="", flush=True)
        self._printed = max(self._printed, len(logs))
        return True

    def _ask(self, question: Callable[[], Answer]) -> Answer | None:
        """Ask the cluster; None if it does not answer.

        Raises:
            ExecutionException: If it has not answered for long.
        """
        try:
            answer = question()
        except (OSError, RuntimeError, AuthenticationError) as error:
            if self._silent_since is None:
                self._silent_since = time.monotonic()
                _say(f"no answer from the cluster ({_first_line(error)}); trying again")
            if time.monotonic() - self._silent_since > _PATIENCE_SECONDS:
                raise ExecutionException(
                    f"no answer from the cluster for {_PATIENCE_SECONDS // 60} minutes; the job "
                    f"{self.job_id} may go on there, and its run {self.run_id} stays open"
                ) from error
            return None
        self._silent_since = None
        return answer

    def _settle(self, status: JobStatus, message: str | None) -> None:
        """Close what the job left open, and keep why it died."""
        client = MlflowClient()
        tags = client.get_run(self.run_id).data.tags
        if status == JobStatus.FAILED and message:
            message = message.split(", last available logs")[0].strip()  # they are printed already
            _say(message)
            if ERROR not in tags:
                client.set_tag(self.run_id, ERROR, _first_and_last(message))
        for run_id in (self.run_id, tags.get(GOES_ON_WITH)):
            if run_id:
                close_run(run_id, STATES[status])


def stoppable() -> AbstractContextManager[None]:
    """Turn requests to stop into exceptions, where Python lets us: in the main thread."""
    in_main = threading.current_thread() is threading.main_thread()
    return stop_signals_raise() if in_main else nullcontext()


def _first_line(error: object) -> str:
    return next((line for line in str(error).strip().splitlines() if line.strip()), "")


def _first_and_last(message: str) -> str:
    """What failed, and of a traceback why."""
    lines = [line for line in message.splitlines() if line.strip()]
    return " ... ".join(line.strip()[:240] for line in dict.fromkeys((lines[0], lines[-1])))


def _say(line: str) -> None:
    print(f"ray: {line}", file=sys.stderr, flush=True)
