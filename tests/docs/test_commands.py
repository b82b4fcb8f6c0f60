"""Every command on every page is run, or the page says why not.

A command that cannot be run here has a comment above its block, which readers do not see:
`<!-- not run: needs a GPU -->`. All others are run in a folder in which what they name is there:
`NAMES` says what stands for a name, `SHORTER` what makes a computation short.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path

import click
import mlflow
import pytest

from asd_experiments.__main__ import COMMANDS, check, main
from asd_experiments.config import REGISTERED_MODEL, PreprocessConfig, SimulateConfig
from asd_experiments.simulation.cohort import simulate
from asd_experiments.tracking.preprocessing import run_preprocess
from asd_experiments.tracking.trial import train
from asd_experiments.training import cross_validation
from tests.docs.commands import (
    PAGES,
    ROOT,
    Command,
    fenced,
    in_text,
    others_in_text,
    parameters,
)
from tests.reporting.builders import log_sweep
from tests.tracking.conftest import SMALL, small_training

ALL = [command for page in PAGES for command in fenced(page, (ROOT / page).read_text())]
RECORDS = ["CHANGELOG.md", "benchmarks/RESULTS.md"]
MENTIONED = [
    command for page in PAGES + RECORDS for command in in_text(page, (ROOT / page).read_text())
]
OTHERS = [
    command
    for page in PAGES + RECORDS
    for command in others_in_text(page, (ROOT / page).read_text())
]
SECONDS = 100

NAMES = {
    'Path("VIDEOS")': 'Path("{videos}")',
    "videos=VIDEOS": "videos={videos}",
    "labels=labels.csv": "labels={videos}/labels.csv",
    "labels=VIDEOS/labels.csv": "labels={videos}/labels.csv",
    "store=store.zarr": "store={store}",
    "run=RUN_ID": "run={trial}",
    "resume=RUN_ID": "resume={unfinished}",
    "sweep=SWEEP_RUN_ID": "sweep={sweep}",
    "sqlite:////.../mlflow.db": "{tracking}",
    "models:/m-...": "{model}",
    "models:/asd-two-stream@champion": "{model}",
    "models:/asd-two-stream@candidate": "{model}",
    "new_walk.mp4": "{a_video}",
    "walk1.mp4": "{a_video}",
    "walk2.mp4": "{a_video}",
    "version=candidate": "version={version}",
}
"""What stands on the pages, and what a `Laboratory` has in its place."""

SHORTER: dict[str, dict[str, object]] = {
    "simulate": {"patients": 2, "videos_per_patient": 1, "seconds": 1, "height": 120},
    "preprocess": {"store": "made.zarr", "size": 32, "workers": 1},
    "train": SMALL,
    "sweep": {"trials": 1, "engine": "optuna", "device": "cpu"},
    "predict": {"workers": 1},
    "explain": {"count": 1, "steps": 8, "sanity_clips": 1, "device": "cpu"},
}
"""Parameters that are changed before a command is run."""


class Laboratory:
    """A folder as a user of the project has it, with everything that the pages name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("MLproject", "conda.yaml", "search_spaces", ".venv", "asd_experiments"):
            if (ROOT / name).exists():
                (folder / name).symlink_to(ROOT / name)

    @property
    def tracking(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @cached_property
    def videos(self) -> Path:
        out = self.folder / "VIDEOS"
        simulate(
            SimulateConfig(out=str(out), patients=8, videos_per_patient=1, seconds=2, height=120)
        )
        return out

    @property
    def a_video(self) -> Path:
        return next(self.videos.rglob("*.mp4"))

    @cached_property
    def store(self) -> str:
        labels = str(self.videos / "labels.csv")
        store = str(self.folder / "store.zarr")
        run_preprocess(
            PreprocessConfig(videos=str(self.videos), labels=labels, store=store, size=32)
        )
        return store

    @cached_property
    def trial(self) -> str:
        return train(small_training(self.store, run_name="finished"))

    @cached_property
    def model(self) -> str:
        (model,) = mlflow.get_run(self.trial).outputs.model_outputs
        return f"models:/{model.model_id}"

    @cached_property
    def version(self) -> str:
        return str(mlflow.register_model(self.model, REGISTERED_MODEL).version)

    @cached_property
    def unfinished(self) -> str:
        """The training that a page continues, broken off in its second fold."""
        fit_fold = cross_validation.fit_fold

        def break_off(*arguments: object, fold: int, **others: object) -> object:
            if fold == 1:
                raise RuntimeError("a crash")
            return fit_fold(*arguments, fold=fold, **others)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cross_validation, "fit_fold", break_off)
            with pytest.raises(RuntimeError, match="a crash"):
                train(small_training(self.store, run_name="unfinished"))
        (run,) = mlflow.search_runs(
            search_all_experiments=True,
            filter_string="attributes.run_name = 'unfinished'",
            output_format="list",
        )
        return str(run.info.run_id)

    @cached_property
    def sweep(self) -> str:
        fusions = ("late_average", "feature_concat")
        return log_sweep({(name, "slow_50", True): 1.0 + n for n, name in enumerate(fusions)})


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("laboratory")
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
            patch.delenv(name, raising=False)
        mlflow.set_tracking_uri(None)
        yield Laboratory(folder)
        mlflow.set_tracking_uri(before)


def with_names(text: str, laboratory: Laboratory) -> str:
    """The command with what the laboratory has in the place of what a page names."""

    def here(name: re.Match[str]) -> str:
        wanted = NAMES[name[0]]
        found = {key: getattr(laboratory, key) for key in re.findall(r"{(\w+)}", wanted)}
        return wanted.format(**found)

    names = "|".join(map(re.escape, sorted(NAMES, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{names})(?![\w.])", here, text)


def run_entry_point(name: str, given: dict[str, str]) -> None:
    """Carry an entry point out in this process, made short, after a check of what was given."""
    name = "train" if name == "main" else name
    check(COMMANDS[name].config, dict(given), [])
    changed = {**given, **SHORTER.get(name, {})}
    main([name, *(word for key, value in changed.items() for word in (f"--{key}", str(value)))])


def run_in_shell(text: str, laboratory: Laboratory) -> None:
    programs = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-euc", text],
        cwd=laboratory.folder,
        env={
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_TRACKING_URI": laboratory.tracking,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in ALL if c.excuse is None], ids=lambda c: c.place)
def test_a_command_does_what_its_page_says(command: Command, laboratory: Laboratory):
    text = with_names(command.text, laboratory)
    if command.language == "python":
        exec(compile(text, command.place, "exec"), {})
    elif found := parameters(shlex.split(text, comments=True)):
        run_entry_point(*found)
    else:
        run_in_shell(text, laboratory)


def test_there_are_pages_with_commands():
    assert {"README.md", "docs/first_hour.md", "search_spaces/README.md"} <= {c.page for c in ALL}
    assert len(MENTIONED) > 30 and len(OTHERS) > 20


@pytest.mark.parametrize("command", [c for c in ALL if c.excuse], ids=lambda c: c.place)
def test_an_excuse_names_tests_that_exist(command: Command):
    for name in re.findall(r"tests/[\w/.]*\w", str(command.excuse)):
        assert (ROOT / name).exists()


@pytest.mark.parametrize("command", MENTIONED, ids=lambda c: c.place)
def test_a_command_in_the_text_has_parameters_that_exist(command: Command):
    words = shlex.split(command.text.replace("...", ""))
    every = {name for c in COMMANDS.values() for name in c.config.__pydantic_fields__}
    if words[0] == "-P":
        given = {word.partition("=")[0] for word in words if word != "-P"}
        assert given <= every
    elif found := parameters([word for word in words if word != "--help"]):
        name, values = found
        assert name in {*COMMANDS, "main", "COMMAND"}
        known = COMMANDS[name].config.__pydantic_fields__ if name in COMMANDS else {"name"}
        assert set(values) <= set(known)


@pytest.mark.parametrize("command", OTHERS, ids=lambda c: c.place)
def test_a_command_of_another_program_in_the_text_exists(command: Command):
    program, *words = shlex.split(command.text.replace("...", ""))
    if program in ("mlflow", "ray"):
        cli = import_module({"mlflow": "mlflow.cli", "ray": "ray.scripts.scripts"}[program]).cli
        assert not unknown_words(cli, words)
    elif program == "make":
        assert set(words) <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    else:
        assert (ROOT / words[0]).is_file()


def unknown_words(command: click.Command, words: list[str]) -> list[str]:
    """Subcommands and options of a program that it does not have."""
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        if name not in command.commands:
            return [name]
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word.partition("=")[0] for word in words if word.startswith("-")}
    return sorted(used - known)
