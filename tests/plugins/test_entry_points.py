"""What MLflow is pointed to, and what it costs a program that only imports MLflow."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parents[2]
POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
MODULES = sorted(
    {target.partition(":")[0] for group in POINTS.values() for target in group.values()}
)
HEAVY = ["torch", "ray", "pytorch_lightning", "zarr", "sklearn", "matplotlib", "cv2"]


def answer(program: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Failure attempting to register" not in done.stderr, done.stderr
    return json.loads(done.stdout)


def test_every_entry_point_is_installed_and_leads_somewhere():
    assert set(POINTS) == {
        "mlflow.project_backend",
        "mlflow.run_context_provider",
        "mlflow.dataset_source",
        "mlflow.model_evaluator",
    }
    for group, points in POINTS.items():
        installed = {e.name: e for e in entry_points(group=group)}
        for name, target in points.items():
            assert installed[name].value == target, f"{group}: install the package again"
            assert installed[name].load().__module__ == target.partition(":")[0]


def test_a_plugin_can_be_imported_first_because_it_imports_no_mlflow():
    """MLflow would look for the plugin while that is being imported, and find half of it."""
    program = f"""
import importlib, json, sys
for name in {MODULES}:
    importlib.import_module(name)
unwanted = ["mlflow", "numpy", "pandas", "pydantic", *{HEAVY}]
print(json.dumps([name for name in unwanted if name in sys.modules]))
"""
    assert answer(program) == []


def test_import_mlflow_registers_the_plugins_and_imports_nothing_heavy_for_them():
    program = f"""
import json, sys
import mlflow
from mlflow.data.dataset_source_registry import get_registered_sources
from mlflow.tracking.context.registry import _run_context_provider_registry as contexts
print(json.dumps({{
    "contexts": [type(one).__module__ for one in contexts],
    "sources": [one.__module__ for one in get_registered_sources()],
    "ours": sorted(name for name in sys.modules if name.startswith("asd_experiments")),
    "heavy": [name for name in {HEAVY} if name in sys.modules],
}}))
"""
    told = answer(program)
    assert "asd_experiments.plugins.run_context" in told["contexts"]
    assert "asd_experiments.plugins.clip_store_source" in told["sources"]
    assert told["ours"] == [
        "asd_experiments",
        "asd_experiments.errors",
        "asd_experiments.plugins",
        "asd_experiments.plugins.clip_store_source",
        "asd_experiments.plugins.run_context",
        "asd_experiments.provenance",
    ]
    assert told["heavy"] == []
