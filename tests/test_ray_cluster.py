import json
from pathlib import Path

import asd_experiments
from asd_experiments.ray_cluster import _code

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
