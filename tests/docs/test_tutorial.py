"""The tutorial runs from top to bottom.

`pytest tests/docs/test_tutorial.py --pictures docs` keeps what it shows in docs/tutorial.ipynb.
"""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.commands import ROOT

pytestmark = pytest.mark.slow

SECONDS = 600  # for a cell; a busy machine is no failure
SHOWN = {"display_data", "execute_result"}


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> nbformat.NotebookNode:
    """The notebook after a run, without what was printed: progress, and paths of this machine."""
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
            patch.delenv(name, raising=False)
        patch.setenv("TMPDIR", str(folder))
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(folder / name.lower()))  # not the user's
        patch.setenv("PYTHONPATH", str(ROOT))
        client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": folder}})
        client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.output_type in SHOWN]
    return notebook


def shown(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [out.data[kind] for cell in cells for out in cell.outputs if kind in out.data]


def test_it_shows_what_its_text_promises(executed, request):
    folder = request.config.getoption("--pictures")
    if folder is not None:
        nbformat.write(executed, request.config.invocation_params.dir / folder / "tutorial.ipynb")
    tables = "".join(shown(executed, "text/plain"))
    assert "both streams" in tables and "sensitivity" in tables
    assert "probability_ASD" in tables
    assert len(shown(executed, "image/png")) == 2
    (compared,) = shown(executed, "text/markdown")
    assert "AUROC" in compared and "Holm" in compared
