import json
import tempfile
from pathlib import Path

import pytest
import ray

import asd_experiments
from asd_experiments.ray_cluster import ClusterError, _code, connected

ROOT = Path(asd_experiments.__file__).parents[1]
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def test_code_travels_with_a_driver_but_not_with_a_job_that_has_brought_it(monkeypatch, tmp_path):
    code = {"py_modules": [str(ROOT / "asd_experiments"), str(ROOT / "preprocess")]}
    monkeypatch.delenv(JOB, raising=False)
    monkeypatch.chdir(ROOT)
    assert _code() == code
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {"env_vars": {"A": "1"}}}))
    assert _code() == code
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {"working_dir": "gcs://folder.zip"}}))
    assert _code() == {}
    monkeypatch.chdir(tmp_path)  # the job's folder is another project's
    assert _code() == code


@pytest.mark.slow
def test_what_a_dead_cluster_left_behind_is_not_joined(monkeypatch):
    """Ray keeps the address of the last cluster of a machine, and would look for it."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:  # sockets need short paths
        (Path(folder) / "ray").mkdir()
        (Path(folder) / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
        monkeypatch.setenv("RAY_TMPDIR", folder)
        with connected(None):
            assert len(ray.nodes()) == 1


def test_why_ray_cannot_start_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("long" * 30)))
    with (
        pytest.raises(ClusterError, match=r"Ray cannot start on this machine: .*path length"),
        connected(None),
    ):
        pass
