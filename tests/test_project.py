"""MLproject, conda.yaml, the lock files and pyproject.toml must tell the same story."""

import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from asd_experiments.__main__ import COMMANDS
from asd_experiments.config import as_text

ROOT = Path(__file__).parents[1]
PROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(path: str) -> dict[str, str]:
    lines = (ROOT / path).read_text().splitlines()
    return {line.split(" ;")[0]: line for line in lines if line.strip()}


def pin(asked: str) -> str:
    """What stands in a lock file for a dependency: its extras are resolved."""
    requirement = Requirement(asked)
    return f"{requirement.name.lower()}{requirement.specifier}"


@pytest.mark.parametrize("name", sorted(PROJECT["entry_points"]))
def test_entry_points_have_the_parameters_and_defaults_of_their_configuration(name):
    entry_point = PROJECT["entry_points"][name]
    config = COMMANDS["train" if name == "main" else name].config
    expected = {
        field: None if info.is_required() else as_text(info.default)
        for field, info in config.__pydantic_fields__.items()
    }
    found = {
        field: None if isinstance(spec, str) else as_text(spec["default"])
        for field, spec in entry_point["parameters"].items()
    }
    assert found == expected
    placeholders = re.findall(r"--(\w+) {(\w+)}", entry_point["command"])
    assert placeholders == [(field.name, field.name) for field in fields(config)]


def test_every_command_is_an_entry_point():
    assert set(PROJECT["entry_points"]) == {*COMMANDS, "main"}
    assert PROJECT["entry_points"]["main"] == PROJECT["entry_points"]["train"]


def test_conda_has_python_and_pip_only_with_the_pins_of_the_lock_file():
    python, pip, packages = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    assert (python, pip) == ("python=3.11", "pip")
    assert packages["pip"] == (ROOT / "requirements.lock").read_text().splitlines()
    assert len(packages["pip"]) > 100


def test_the_lock_files_hold_what_pyproject_asks_for():
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    for asked in PYPROJECT["project"]["dependencies"]:
        assert pin(asked) in runtime, asked
    for asked in PYPROJECT["dependency-groups"]["dev"]:
        assert pin(asked) in dev, asked
    assert set(runtime) <= set(dev)
    assert all(Requirement(line).specifier for line in [*runtime.values(), *dev.values()])


def test_the_lock_files_name_no_address():
    text = (ROOT / "requirements-dev.lock").read_text() + (ROOT / "conda.yaml").read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text


@pytest.mark.parametrize(
    "module",
    [
        *("reporting.ablation", "registry.promote", "search.nodes", "tracking.evaluation"),
        "prediction.cluster",
    ],
)
def test_what_trains_nothing_does_not_wait_for_pytorch(module):
    """Its import takes longer than the command."""
    code = f"import sys, asd_experiments.{module}; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "False"
