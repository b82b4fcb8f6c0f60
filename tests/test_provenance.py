"""What made a run: told by Git and by the driver of the GPUs, each by what it really says."""

import subprocess
import sys
from pathlib import Path

import pytest

from asd_experiments import provenance
from asd_experiments.provenance import code_tags, is_of_project, is_project, visible_gpus

ROOT = Path(__file__).parents[1]


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def asked_anew():
    yield
    code_tags.cache_clear()
    provenance._gpus.cache_clear()


@pytest.fixture
def repository(tmp_path):
    package = tmp_path / "asd_experiments"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (tmp_path / "notes.md").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


class TestCode:
    def test_what_a_commit_holds_is_clean(self, repository):
        commit = git(repository, "rev-parse", "HEAD")
        (repository / "mlflow.db").write_text("what the project writes is no code")
        assert code_tags(repository) == {"asd.code": "clean", "asd.commit": commit}

    @pytest.mark.parametrize("changed", ["asd_experiments/__init__.py", "notes.md"])
    def test_a_changed_file_makes_it_dirty(self, repository, changed):
        (repository / changed).write_text("# changed")
        assert code_tags(repository)["asd.code"] == "dirty"

    def test_a_new_module_makes_it_dirty(self, repository):
        (repository / "asd_experiments" / "new.py").write_text("")
        assert code_tags(repository)["asd.code"] == "dirty"

    def test_the_variables_of_a_git_hook_name_another_repository(
        self, repository, tmp_path_factory, monkeypatch
    ):
        monkeypatch.setenv("GIT_DIR", str(tmp_path_factory.mktemp("other")))
        assert code_tags(repository)["asd.code"] == "clean"

    def test_an_environment_below_a_repository_is_no_part_of_it(self, repository):
        installed = repository / ".venv" / "site-packages"
        (installed / "asd_experiments").mkdir(parents=True)
        (installed / "asd_experiments" / "__init__.py").write_text("")
        assert code_tags(installed) == {"asd.code": "unversioned"}

    def test_without_git_nothing_is_known(self, repository, monkeypatch):
        monkeypatch.setenv("PATH", "")
        assert code_tags(repository) == {"asd.code": "unversioned"}


class TestGpus:
    @pytest.fixture
    def two_gpus(self, tmp_path, monkeypatch):
        """A program that prints what the driver's does."""
        program = tmp_path / "nvidia-smi"
        lines = "0, GPU-aaaa-1, NVIDIA H100 80GB HBM3\\n1, GPU-bbbb-2, NVIDIA A100, 40GB\\n"
        program.write_text(f"#!/bin/sh\nprintf '{lines}'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    @pytest.mark.parametrize(
        ("chosen", "seen"),
        [
            (None, ["NVIDIA H100 80GB HBM3", "NVIDIA A100, 40GB"]),
            ("1", ["NVIDIA A100, 40GB"]),
            ("1, 0", ["NVIDIA A100, 40GB", "NVIDIA H100 80GB HBM3"]),
            ("GPU-bbbb", ["NVIDIA A100, 40GB"]),
            ("", []),
            ("-1", []),
            ("0,7,1", ["NVIDIA H100 80GB HBM3"]),
            ("MIG-cccc", ["slice of a GPU (MIG)"]),
        ],
    )
    def test_those_that_the_process_may_use(self, two_gpus, monkeypatch, chosen, seen):
        if chosen is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert visible_gpus() == seen

    @pytest.mark.parametrize("script", [None, "exit 9", "echo No devices were found"])
    def test_without_a_driver_there_is_none(self, tmp_path, monkeypatch, script):
        if script:
            (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        assert visible_gpus() == []


class TestProject:
    def test_this_folder_is_the_project(self, monkeypatch):
        assert is_project(ROOT)
        monkeypatch.chdir(ROOT / "docs" / "images")
        assert is_of_project()

    @pytest.mark.parametrize(
        "content", ["name: other\n", "# name: asd_experiments\n", "name: asd_experiments_2\n", ""]
    )
    def test_another_project_below_ours_is_another(self, tmp_path, monkeypatch, content):
        (tmp_path / "MLproject").write_text("name: 'asd_experiments'\n")
        inner = tmp_path / "a" / "b"
        inner.mkdir(parents=True)
        monkeypatch.chdir(inner)
        assert is_of_project()
        (tmp_path / "a" / "MLproject").write_text(content)
        assert not is_of_project()

    def test_any_other_folder_is_not(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert not is_of_project()
        tmp_path.rmdir()
        assert not is_of_project()

    def test_a_command_of_ours_is_of_the_project_wherever_it_runs(self, tmp_path):
        code = "from asd_experiments.provenance import is_of_project as f; print(f())"
        (tmp_path / "sitecustomize.py").write_text(
            f"import atexit\natexit.register(lambda: exec({code!r}))\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "asd_experiments", "--help"],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == "True"
