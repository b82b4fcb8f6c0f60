"""`mlflow run --backend ray`: what is refused before a run is made, and jobs on a real cluster."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import ExecutionException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from ray.job_submission import JobDetails, JobStatus

from asd_experiments.errors import InputError
from asd_experiments.plugins.ray_backend import RayBackend, job, launch
from asd_experiments.plugins.ray_backend.cluster_file import read_cluster_file
from asd_experiments.plugins.ray_backend.folder import EXCLUDED, check_size
from asd_experiments.plugins.ray_backend.job import JobsClient, RayJobRun, check_runtime_env
from asd_experiments.plugins.ray_backend.reach import is_here, tracking_uri_for_job
from asd_experiments.provenance import code_tags

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"  # the port of `discard`
MLFLOWS = {
    "ENV_MANAGER": None,
    "SYNCHRONOUS": False,
    "DOCKER_ARGS": {},
    "STORAGE_DIR": None,
    "build_image": False,
    "docker_auth": None,
}


def test_mlflow_finds_the_backend_by_its_name():
    (found,) = [e for e in entry_points(group="mlflow.project_backend") if e.name == "ray"]
    assert found.load() is RayBackend
    assert isinstance(mlflow.projects.loader.load_backend("ray"), RayBackend)


class TestClusterFile:
    def test_options_of_mlflow_are_left_out(self):
        cluster = read_cluster_file(
            {"address": "https://head.example:8265/", "entrypoint_num_cpus": 1, **MLFLOWS}
        )
        assert cluster.address == "https://head.example:8265"
        assert (cluster.entrypoint_num_cpus, cluster.runtime_env) == (1, {})

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({"adress": "http://a:1"}, "adress: no such key; did you mean 'address'"),
            ({}, r'address: must be given: --backend-config cluster.json, a file with {"address"'),
            ({"address": "ray://head:10001"}, r"address: must be where .*8265.*'ray://head"),
            ({"address": "head:8265"}, "address: must be where the cluster takes jobs, http://"),
            ({"address": "auto"}, "address: must be where the cluster takes jobs"),
            ({"entrypoint_num_gpus": -1}, "entrypoint_num_gpus: .*greater than or equal to 0.*-1"),
            ({"entrypoint_resources": {"a": "x"}}, "entrypoint_resources.a: .*number"),
            ({"metadata": {"a": 1}}, "metadata.a: .*string"),
            ({"send_credentials": "no"}, "send_credentials: .*boolean"),
            ({"runtime_env": []}, "runtime_env: .*dictionary"),
            ({"runtime_env": {"working_dir": "."}}, "runtime_env: working_dir is the project's"),
            ({"runtime_env": {"excludes": "*.csv"}}, "excludes must be a list of texts"),
            ({"runtime_env": {"excludes": None}}, "excludes must be a list of texts"),
            (
                {"runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60s"}}},
                "RAY_JOB_STOP_WAIT_TIME_S must be whole seconds",
            ),
            ({"runtime_env": {"env_vars": {"A": 1}}}, "runtime_env: env_vars must be names and te"),
            ({"runtime_env": {"env_vars": {"MLFLOW_RUN_ID": "1"}}}, "MLFLOW_RUN_ID is for the bac"),
        ],
    )
    def test_every_wrong_value_is_named_with_the_remedy(self, wrong, told):
        with pytest.raises(InputError, match=told):
            read_cluster_file(wrong)

    def test_all_problems_are_told_at_once_and_no_secret(self):
        with pytest.raises(InputError, match="3 problems") as caught:
            read_cluster_file({"runtime_env": {"working_dir": "secret"}, "x": 1})
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("environment", "told"),
        [
            ({"pipp": []}, "runtime_env.pipp: Ray has no such field; did you mean 'pip'"),
            ({"pip": ["a"], "conda": {"dependencies": []}}, "runtime_env: Ray refuses it"),
        ],
    )
    def test_what_ray_would_refuse_is_refused_first(self, environment, told):
        with pytest.raises(InputError, match=told):
            check_runtime_env(environment)
        check_runtime_env({"pip": ["a"], "excludes": ["b"], "env_vars": {"A": "1"}})


class TestReach:
    def test_a_cluster_is_here_if_all_its_nodes_are(self):
        mine = socket.gethostbyname(socket.gethostname())
        assert is_here("http://localhost:8265", lambda: ["127.0.0.1", mine])
        assert is_here(f"http://{mine}:8265", lambda: [mine])
        # 192.0.2.0/24 and 203.0.113.0/24 are for documentation: no machine has them.
        assert not is_here("http://localhost:8265", lambda: [mine, "203.0.113.7"])

    def test_the_nodes_of_a_distant_cluster_are_not_asked(self):
        assert not is_here("http://203.0.113.7:8265", lambda: pytest.fail("asked"))

    @pytest.mark.parametrize(
        "uri",
        [
            *("sqlite:///mlflow.db", "sqlite:////tmp/mlflow.db", "./mlruns", "file:///tmp/mlruns"),
            *("http://localhost:5000", "http://127.0.0.1:5000", "https://[::1]:5000"),
            *(
                "postgresql:///mlflow",
                "postgresql://localhost/mlflow",
                "mysql+x://127.0.0.1/mlflow",
            ),
        ],
    )
    def test_a_distant_cluster_needs_a_server_that_it_reaches(self, uri):
        with pytest.raises(InputError, match=r"cannot reach the tracking URI .*mlflow server"):
            tracking_uri_for_job(uri, here=False)

    def test_no_password_is_told(self):
        with pytest.raises(InputError) as caught:
            tracking_uri_for_job("http://" + "me:secret" + "@localhost:5000", here=False)
        assert "http://localhost:5000" in str(caught.value) and "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "uri", ["https://mlflow.example", "databricks", "databricks://profile", "mysql://db/mlflow"]
    )
    @pytest.mark.parametrize("here", [True, False])
    def test_a_server_is_reached_from_anywhere(self, uri, here):
        assert tracking_uri_for_job(uri, here=here) == uri

    def test_a_file_keeps_its_place_in_another_working_folder(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

        def absolute(uri: str) -> str:
            return tracking_uri_for_job(uri, here=True)

        assert absolute("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
        assert absolute("sqlite:////a/mlflow.db") == "sqlite:////a/mlflow.db"
        assert absolute("mlruns") == absolute("./mlruns") == f"file://{tmp_path}/mlruns"
        assert absolute("file:///a/mlruns") == "file:///a/mlruns"
        assert absolute("http://localhost:5000") == "http://localhost:5000"


def test_a_folder_that_ray_does_not_take_is_refused_with_what_takes_most(tmp_path):
    for name in ("outputs", "videos", "ignored"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "large").write_bytes(bytes(3 << 20))
    (tmp_path / ".gitignore").write_text("ignored/\n")
    with pytest.raises(InputError, match=r"has 3 MiB, .*2 MiB at most.* Largest: videos \(3 MiB\)"):
        check_size(tmp_path, [*EXCLUDED], most_bytes=2 << 20)
    check_size(tmp_path, [*EXCLUDED, "videos"], most_bytes=2 << 20)
    check_size(tmp_path, [*EXCLUDED])


PROJECT = """
name: toy
entry_points:
  main:
    parameters:
      say: {type: string, default: hello}
      place: {type: path, default: /on/the/cluster}
      ray_address: {type: string, default: ""}
    command: "python toy.py {say} {place} {ray_address}"
  fail: {command: "echo before the end; exit 3"}
  missing: {command: "no_such_program"}
  wait: {command: "python wait.py"}
"""
TOY = """
import os, sys
from pathlib import Path

import ray
from asd_experiments.ray_cluster import connected

@ray.remote
def seen():
    import asd_experiments
    return Path("there.txt").read_text()

print("arguments:", *sys.argv[1:], os.environ["MLFLOW_TRACKING_URI"], os.environ["SAID"])
print("files:", *sorted(os.listdir()))
with connected(sys.argv[3]):
    print("a worker saw:", ray.get(seen.remote()))
"""
WAIT = """
import os, time
from mlflow.tracking import MlflowClient

parent = os.environ["MLFLOW_RUN_ID"]
for _ in "trial", "fold":
    tags = {"mlflow.parentRunId": parent}
    parent = MlflowClient().create_run(os.environ["MLFLOW_EXPERIMENT_ID"], tags=tags).info.run_id
print("waiting", flush=True)
time.sleep(600)
"""


@pytest.fixture
def project(tmp_path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "MLproject").write_text(PROJECT)
    (folder / "toy.py").write_text(TOY)
    (folder / "wait.py").write_text(WAIT)
    (folder / "there.txt").write_text("a file of the project")
    (folder / ".gitignore").write_text("secret.txt\n")
    for name in ("secret.txt", "mlflow.db"):
        (folder / name).touch()
    return folder


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory) -> Path:
    """A database without runs: MLflow takes seconds to make one."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def tracked(tmp_path, empty_database) -> Iterator[MlflowClient]:
    before = mlflow.get_tracking_uri()
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize(
    ("changes", "options", "told"),
    [
        ({"backend_config": {}}, {}, "address: must be given"),
        (
            {},
            {"address": NOBODY},
            r"no Ray cluster takes jobs at http://127.0.0.1:9 .*ray\[default",
        ),
        ({"env_manager": "uv"}, {}, "--env-manager uv cannot make an environment on a cluster"),
        ({"docker_args": {"gpus": "all"}}, {}, "--docker-args and --build-image have no meaning"),
        ({"entry_point": "unknown"}, {}, "Could not find unknown among entry points"),
    ],
)
def test_no_run_is_made_where_a_job_cannot_be(project, tracked, changes, options, told):
    arguments = {"backend_config": {"address": NOBODY, **options}, **changes}
    with pytest.raises(ExecutionException, match=told):
        mlflow.projects.run(str(project), backend="ray", synchronous=False, **arguments)
    assert tracked.search_runs(["0"]) == []


def test_paths_are_the_clusters_and_ray_is_where_the_job_is(project):
    fetched = launch._fetch(str(project), None, "main", {"place": "relative/path"})
    assert fetched.command == "python toy.py hello relative/path auto"
    fetched = launch._fetch(str(project), None, "main", {"ray_address": "head:6379"})
    assert fetched.command == "python toy.py hello /on/the/cluster head:6379"


class Jobs(JobsClient):
    """A cluster that answers what a test has laid down; an exception is raised."""

    def __init__(self, *answers: JobStatus | Exception) -> None:
        self.answers = list(answers)
        self.stopped = False

    def get_job_info(self, _: str) -> JobDetails:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return JobDetails.model_construct(
            status=answer, message="it broke\nlong story\nfor this reason\n"
        )

    def get_job_status(self, _: str) -> JobStatus:
        return self.get_job_info(_).status

    def get_job_logs(self, _: str) -> str:
        return "first\nsecond\n" if len(self.answers) == 1 else "first\n"

    def stop_job(self, _: str) -> None:
        self.stopped = True

    def submit_job(self, **job: Any) -> str:
        if self.answers == [JobStatus.FAILED]:
            raise RuntimeError("Request failed with status code 500: too large")
        self.submitted = job
        return job["submission_id"]


@pytest.fixture
def submit(project, tracked, monkeypatch):
    """Submit the toy project to a cluster of this machine that does nothing."""

    def go(status: JobStatus, **config: Any) -> tuple[Jobs, RayJobRun]:
        jobs = Jobs(status)
        monkeypatch.setattr(launch, "connect", lambda _: jobs)
        monkeypatch.setattr(launch, "nodes_of", lambda _: ["127.0.0.1"])
        config = {"address": "http://localhost:8265", **config}
        return jobs, mlflow.projects.run(
            str(project), backend="ray", backend_config=config, synchronous=False
        )

    return go


class TestSubmitting:
    def test_the_job_knows_its_run_and_its_server(self, submit, tracked, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
        monkeypatch.setenv("MLFLOW_RUN_ID", "of another project")
        variables = {"OWN": "1", "RAY_JOB_STOP_WAIT_TIME_S": "5"}
        environment = {"env_vars": variables, "excludes": ["notes"]}
        jobs, job = submit(
            JobStatus.PENDING, runtime_env=environment, metadata={"a": "b"}, entrypoint_num_cpus=1
        )
        run = tracked.get_run(job.run_id)
        sent = jobs.submitted["runtime_env"]
        assert sent["env_vars"] == variables | {
            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
            "MLFLOW_TRACKING_USERNAME": "somebody",
            "MLFLOW_EXPERIMENT_ID": "0",
            "MLFLOW_RUN_ID": job.run_id,
        }
        assert sent["working_dir"] == str(tmp_path / "toy")
        assert sent["excludes"] == [*EXCLUDED, "notes"]
        assert jobs.submitted["entrypoint"] == "python toy.py hello /on/the/cluster auto"
        assert jobs.submitted["metadata"] == {"a": "b", "mlflow_run_id": job.run_id}
        assert jobs.submitted["entrypoint_num_cpus"] == 1
        assert run.data.tags["asd.ray_job"] == jobs.submitted["submission_id"]
        assert "somebody" not in str(run.to_dictionary())

    def test_credentials_stay_here_where_that_is_wanted(self, submit, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
        jobs, _ = submit(JobStatus.PENDING, send_credentials=False)
        variables = jobs.submitted["runtime_env"]["env_vars"]
        assert "MLFLOW_TRACKING_TOKEN" not in variables
        assert variables["RAY_JOB_STOP_WAIT_TIME_S"] == "60"

    def test_a_run_whose_job_is_not_taken_has_failed(self, submit, tracked):
        with pytest.raises(ExecutionException, match=r"Ray does not take the job: .*too large"):
            submit(JobStatus.FAILED)
        assert [run.info.status for run in tracked.search_runs(["0"])] == ["FAILED"]

    def test_a_request_to_stop_stops_a_job_that_is_on_its_way(self, submit, tracked, monkeypatch):
        stopped = []
        monkeypatch.setattr(Jobs, "submit_job", lambda *_, **__: signal.raise_signal(signal.SIGINT))
        monkeypatch.setattr(Jobs, "stop_job", lambda _, job_id: stopped.append(job_id))
        with pytest.raises(KeyboardInterrupt, match="stopped by SIGINT"):
            submit(JobStatus.PENDING)
        (run,) = tracked.search_runs(["0"])
        assert run.info.status == "KILLED" and stopped == [run.data.tags["asd.ray_job"]]


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(job.time, "sleep", lambda _: None)
    monkeypatch.setattr(job, "_MARGIN_SECONDS", 0)


def run_of(client: MlflowClient) -> str:
    return client.create_run("0").info.run_id


@pytest.mark.usefixtures("at_once")
class TestFollowing:
    def follow(self, client: MlflowClient, *answers: JobStatus | Exception) -> RayJobRun:
        return RayJobRun(Jobs(*answers), "job", run_of(client), stop_seconds=0)

    def test_every_line_is_printed_once(self, tracked, capsys):
        followed = self.follow(tracked, JobStatus.PENDING, JobStatus.RUNNING, JobStatus.SUCCEEDED)
        assert followed.wait()
        assert capsys.readouterr().out == "first\nsecond\n"
        assert tracked.get_run(followed.run_id).info.status == "FINISHED"

    def test_a_job_that_died_is_failed_with_the_reason(self, tracked, capsys):
        followed = self.follow(tracked, JobStatus.PENDING, JobStatus.FAILED)
        assert not followed.wait()
        run = tracked.get_run(followed.run_id)
        assert run.info.status == "FAILED"
        assert run.data.tags["asd.error"] == "it broke ... for this reason"
        assert "ray: it broke" in capsys.readouterr().err

    def test_what_the_command_said_of_its_run_stays(self, tracked):
        followed = self.follow(tracked, JobStatus.FAILED)
        tracked.set_tag(followed.run_id, "asd.error", "its own")
        tracked.set_terminated(followed.run_id, "KILLED")
        assert not followed.wait()
        run = tracked.get_run(followed.run_id)
        assert run.info.status == "KILLED" and run.data.tags["asd.error"] == "its own"

    def test_the_run_that_a_job_went_on_with_is_closed_too(self, tracked):
        followed, other = self.follow(tracked, JobStatus.FAILED), run_of(tracked)
        tracked.set_tag(followed.run_id, "asd.goes_on_with", other)
        followed.wait()
        assert tracked.get_run(other).info.status == "FAILED"

    def test_a_cluster_that_is_silent_for_a_while_is_waited_for(self, tracked, capsys):
        silence = ConnectionError("cable out")
        followed = self.follow(tracked, JobStatus.RUNNING, silence, silence, JobStatus.SUCCEEDED)
        assert followed.wait()
        assert capsys.readouterr().err.count("no answer from the cluster (cable out)") == 1

    def test_a_cluster_that_is_silent_for_long_may_still_be_at_work(self, tracked, monkeypatch):
        monkeypatch.setattr(job, "_PATIENCE_SECONDS", -1)
        followed = self.follow(tracked, ConnectionError("cable out"))
        with pytest.raises(ExecutionException, match=r"may go on there, .* stays open"):
            followed.wait()
        assert tracked.get_run(followed.run_id).info.status == "RUNNING"

    def test_a_cluster_that_was_started_anew_has_lost_the_job(self, tracked):
        lost = RuntimeError("Request failed with status code 404: Job job does not exist.")
        followed = self.follow(tracked, JobStatus.RUNNING, lost)
        assert not followed.wait()
        assert "started anew" in tracked.get_run(followed.run_id).data.tags["asd.error"]

    def test_states_are_told_in_mlflows_words(self, tracked):
        words = {status: self.follow(tracked, status).get_status() for status in JobStatus}
        assert words == {
            "PENDING": "SCHEDULED",
            "RUNNING": "RUNNING",
            "SUCCEEDED": "FINISHED",
            "STOPPED": "KILLED",
            "FAILED": "FAILED",
        }

    def test_a_job_that_does_not_stop_is_told_and_its_run_stays_open(self, tracked):
        followed = self.follow(tracked, JobStatus.RUNNING)
        with pytest.raises(ExecutionException, match="does not stop"):
            followed.cancel()
        assert tracked.get_run(followed.run_id).info.status == "RUNNING"

    def test_a_job_that_is_stopped_before_it_is_set_up_is_killed(self, tracked):
        followed = self.follow(tracked, JobStatus.PENDING)
        followed.cancel()
        assert followed._jobs.stopped
        assert tracked.get_run(followed.run_id).info.status == "KILLED"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


LOCKED = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "for-tests-alone"}


def environment(**variables: str) -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    lost = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "RAY_ADDRESS")
    return {
        **{name: value for name, value in os.environ.items() if name not in lost},
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        **LOCKED,
        **variables,
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster with a dashboard that wants a token, as Ray's own default is."""
    port, dashboard, client, agent = free_ports(4)
    folder = tempfile.mkdtemp(prefix="ray")  # sockets need short paths
    ports = {
        **{"port": port, "dashboard-port": dashboard, "ray-client-server-port": client},
        **{"dashboard-agent-listen-port": agent, "min-worker-port": 0, "max-worker-port": 0},
    }
    command = ["ray", "start", "--head", "--block", "--include-dashboard=true", "--num-cpus=2"]
    command += [f"--temp-dir={folder}", *(f"--{name}={number}" for name, number in ports.items())]
    with (
        Path(folder, "head.log").open("w") as log,
        subprocess.Popen(
            command, env=environment(), stdout=log, stderr=log, start_new_session=True
        ) as head,
    ):
        address = f"http://127.0.0.1:{dashboard}"
        try:
            wait_until_it_answers(f"{address}/api/version", head)
            yield address
        finally:
            os.killpg(head.pid, signal.SIGTERM)
            try:
                head.wait(timeout=5)
            except subprocess.TimeoutExpired:
                os.killpg(head.pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def wait_until_it_answers(address: str, head: subprocess.Popen, *, seconds: int = 180) -> None:
    deadline = time.monotonic() + seconds
    while head.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 401:
                return
        except OSError:
            pass
        else:
            return
        time.sleep(1)
    pytest.fail("the cluster has not started")


@pytest.fixture
def start(project, tracked, tmp_path):
    """Start `mlflow run` on the toy project; it tracks to a database beside it."""

    def go(address: str, *words: str, runtime_env: dict | None = None, **variables: str):
        config = {"address": address, "runtime_env": runtime_env or {}}
        (tmp_path / "cluster.json").write_text(json.dumps(config))
        return subprocess.Popen(
            ["mlflow", "run", "toy", "-b", "ray", "-c", "cluster.json", *words],
            cwd=tmp_path,
            env=environment(MLFLOW_TRACKING_URI="sqlite:///mlflow.db", **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return go


def told(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.mark.slow
def test_a_job_runs_the_command_on_the_cluster_and_its_words_come_home(
    cluster, start, tracked, tmp_path
):
    said = {"SAID": "by cluster.json"}
    code, out, err = told(
        start(cluster, "-P", "say=a b;c", "--run-name", "mine", runtime_env={"env_vars": said})
    )
    assert code == 0, err
    database = f"sqlite:///{tmp_path}/mlflow.db"
    assert f"arguments: a b;c /on/the/cluster auto {database} by cluster.json\n" in out
    assert "files: .gitignore MLproject there.txt toy.py wait.py\n" in out
    assert "a worker saw: a file of the project\n" in out
    (run,) = tracked.search_runs(["0"])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "mine")
    assert run.data.tags["mlflow.project.backend"] == "ray"
    assert run.data.tags["mlflow.project.entryPoint"] == "main"
    assert f"Ray job {run.data.tags['asd.ray_job']} at {cluster} works on the run" in out
    assert run.data.params["ray_address"] == "auto" and run.data.params["say"] == "'a b;c'"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry_point", "runtime_env", "reason"),
    [
        ("fail", {}, "failed with exit code 3"),
        ("missing", {}, "failed with exit code 127"),
        ("main", {"conda": "no_such_environment"}, "no_such_environment|conda"),
    ],
)
def test_a_job_that_fails_or_never_starts_is_failed(
    cluster, start, tracked, entry_point, runtime_env, reason
):
    code, out, err = told(start(cluster, "-e", entry_point, runtime_env=runtime_env))
    assert code == 1 and "Traceback" not in err.split("ERROR mlflow.cli")[1]
    assert ("before the end" in out) == (entry_point == "fail")
    (run,) = tracked.search_runs(["0"])
    assert run.info.status == "FAILED" and run.data.tags["mlflow.project.backend"] == "ray"
    assert any(word in run.data.tags["asd.error"] for word in reason.split("|"))


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_whoever_stops_mlflow_run_stops_the_job(cluster, start, tracked, stop):
    process = start(cluster, "-e", "wait")
    deadline = time.monotonic() + 120
    while len(runs := tracked.search_runs(["0"])) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.5)
    process.send_signal(stop)
    code, _, err = told(process)
    assert code == 1 and f"stopped by {stop.name}" in err
    runs = tracked.search_runs(["0"])
    assert [run.info.status for run in runs] == ["KILLED"] * 3
    (whole,) = [run for run in runs if MLFLOW_PARENT_RUN_ID not in run.data.tags]
    listed = subprocess.run(
        ["ray", "job", "status", whole.data.tags["asd.ray_job"], "--address", cluster],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert "was stopped" in listed.stdout + listed.stderr


@pytest.mark.slow
def test_a_cluster_that_wants_a_token_says_how_to_give_it(cluster, start, tracked):
    code, _, err = told(start(cluster, RAY_AUTH_MODE="disabled"))
    assert code == 1 and "wants its token: set RAY_AUTH_MODE=token here" in err
    assert tracked.search_runs(["0"]) == []


PROGRAM = """
import mlflow, sys, time
from mlflow.tracking import MlflowClient

taken = MlflowClient().create_run("0").info.run_id
run = mlflow.projects.run(
    "toy",
    "wait",
    backend="ray",
    backend_config={"address": sys.argv[1], "_mlflow_local_backend_run_id": taken},
    synchronous=False,
)
assert run.run_id == taken
states = []
while "RUNNING" not in states:
    states.append(run.get_status())
    time.sleep(0.5)
run.cancel()
print("states:", states[0], states[-1], run.get_status(), run.wait())
"""


@pytest.mark.slow
def test_a_program_need_not_wait(cluster, project, tracked, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, cluster],
        cwd=tmp_path,
        env=environment(MLFLOW_TRACKING_URI="sqlite:///mlflow.db"),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.splitlines()[-1].endswith("RUNNING KILLED False"), done.stderr
    assert {run.info.status for run in tracked.search_runs(["0"])} == {"KILLED"}


SPACE = """
name: small
objective: {metric: val/patient/loss, direction: minimize}
sampler: random
budget: {trials: 1}
fixed:
  {backbone: c3d_gap, size: 32, width: 0.125, clip_length: 8, folds: 2, inner_folds: 2, epochs: 1}
parameters:
  fusion: [late_average, feature_concat]
"""


@pytest.mark.slow
def test_a_sweep_runs_on_the_cluster_that_its_job_is_on(cluster, tracked, tmp_path, small_store):
    (tmp_path / "space.yaml").write_text(SPACE)
    values = {"space": tmp_path / "space.yaml", "store": small_store.url, "folder": tmp_path / "f"}
    words = [word for name, value in values.items() for word in ("-P", f"{name}={value}")]
    config = json.dumps({"address": cluster})
    done = subprocess.run(
        ["mlflow", "run", str(ROOT), "-e", "sweep", "-b", "ray", "-c", config, *words],
        cwd=tmp_path,
        env=environment(MLFLOW_TRACKING_URI="sqlite:///mlflow.db"),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Best: trial 0" in done.stdout
    runs = tracked.search_runs(["0"])
    assert len(runs) == 4 and {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["asd.data_digest"] for run in runs} == {small_store.digest}
    # Known where the job was submitted alone: its folder on the cluster has no repository.
    code_tags.cache_clear()
    here = code_tags(ROOT)
    assert all(here.items() <= run.data.tags.items() for run in runs)
