"""The examples on the plugins' pages, as they stand there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

# MLflow waits for the import of libraries that it can log by itself, in a way that Python calls
# outdated: they are there before it begins to wait.
import asd_experiments.plugins.model_evaluator.judge  # noqa: F401

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "plugins"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What MLflow 3.17 says of any table with a whole number, and of pandas 3.1.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Hint. Inferred schema contains integer column:UserWarning"),
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    before = mlflow.get_tracking_uri()
    yield tmp_path
    mlflow.set_tracking_uri(before)


def blocks(page: str, language: str) -> list[str]:
    text = (PAGES / page).read_text(encoding="utf-8")
    return [content for kind, content in BLOCK.findall(text) if kind == language]


def run_python(block: str, names: dict, folder: Path) -> None:
    """MLflow keeps a database that it has opened, by its name: each test has one of its own."""
    assert "sqlite:///mlflow.db" in block or names
    exec(block.replace("sqlite:///mlflow.db", f"sqlite:///{folder}/mlflow.db"), names)


def run_bash(block: str) -> None:
    for line in block.strip().splitlines():
        assert line.startswith("python -m ")
        words = line.split()[1:]
        subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True)


def test_every_page_has_an_example():
    pages = sorted(path.name for path in PAGES.glob("*.md"))
    assert pages == ["clip_store.md", "model_evaluator.md", "run_context.md"]
    assert all(blocks(page, "python") for page in pages)


def test_run_context(folder, capsys):
    shutil.copy(ROOT / "MLproject", folder)
    (example,) = blocks("run_context.md", "python")
    run_python(example, {}, folder)
    tags, counted = capsys.readouterr().out.splitlines()
    for name in ("asd.code", "asd.gpu", "asd.node", "asd.package_version"):
        assert f"'{name}'" in tags
    assert re.fullmatch(r"[01] of 1 runs are of code that a commit holds", counted)


@pytest.mark.slow
def test_model_evaluator(folder, capsys):
    two, three = blocks("model_evaluator.md", "python")
    (printed,) = blocks("model_evaluator.md", "")
    names: dict = {}
    run_python(two, names, folder)
    assert capsys.readouterr().out == printed
    run = mlflow.last_active_run()
    assert run.info.status == "FINISHED"
    assert run.data.tags["asd.decision"].startswith("ASD at a probability of 0.5 or above (the def")
    result = names["result"]
    assert result.metrics == run.data.metrics
    assert list(result.artifacts["roc_group.csv"].content.columns)[:2] == ["fold", "class"]
    assert result.artifacts["roc_group.png"].content.size[0] == 900
    files = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "figures")}
    shown = ("roc", "precision_recall", "calibration", "confusion_matrix")
    expected = {f"figures/{name}_{unit}.png" for name in shown for unit in ("row", "group")}
    assert files == expected | {"figures/decision_curve_group.png"}
    again = type(result).load(_saved(result, folder))
    assert again.metrics == result.metrics and again.artifacts.keys() == result.artifacts.keys()
    run_python(three, names, folder)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "diseases_group/auroc",
        "diseases_group/auroc_DHS",
    ]
    assert_three_classes_with_a_prefix(names["result"])


def assert_three_classes_with_a_prefix(result: mlflow.models.EvaluationResult) -> None:
    run = mlflow.last_active_run()
    assert result.metrics == run.data.metrics
    assert {"diseases_row/auroc_LCS", "diseases_group/f1_ci_low"} < set(result.metrics)
    assert "diseases_threshold" not in result.metrics
    assert run.data.tags["asd.diseases_decision"] == "the most probable class"
    files = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "figures")}
    assert "figures/roc_diseases_group.png" in files
    counts = result.artifacts["confusion_matrix_diseases_group.csv"].content
    assert counts["count"].sum() == 60


def _saved(result: mlflow.models.EvaluationResult, folder: Path) -> str:
    result.save(str(folder / "saved"))
    return str(folder / "saved")


@pytest.mark.slow
def test_clip_store(folder, capsys):
    (commands,) = blocks("clip_store.md", "bash")
    (example,) = blocks("clip_store.md", "python")
    run_bash(commands)
    run_python(example, {}, folder)
    printed = capsys.readouterr().out
    assert printed.startswith("True\n")
    assert printed.endswith("(16, 64, 64, 3) (16, 64, 64) (15, 64, 64, 2)\n")
