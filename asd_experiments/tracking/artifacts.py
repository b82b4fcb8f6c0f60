"""Tables and pictures of a run."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from mlflow.tracking import MlflowClient
from mlflow.tracking.multimedia import compress_image_size
from PIL import Image

from asd_experiments.evaluation.figures.style import figure_to_array, figure_to_svg

_CHARTS = "images"  # where MLflow looks for the images of a run's charts
_SECTION = "figures"  # MLflow sorts its sections: this one comes before those of all metrics


def log_table(run_id: str, table: pd.DataFrame, name: str) -> None:
    """Log a table; the ending of its name, .parquet or .csv, says how it is written."""
    with tempfile.TemporaryDirectory(prefix="table_") as folder:
        path = Path(folder) / Path(name).name
        _write_table(table, path)
        parent = str(Path(name).parent)
        MlflowClient().log_artifact(run_id, str(path), None if parent == "." else parent)


class Evaluated:
    """Tables and figures on their way to a run; those of an earlier evaluation are replaced.

    Args:
        run_id: The run.
        folder: An empty folder for the files.
    """

    def __init__(self, run_id: str, folder: Path) -> None:
        self._run_id = run_id
        self.folder = folder
        self._charts = [item.path for item in MlflowClient().list_artifacts(run_id, _CHARTS)]

    def add_table(self, name: str, table: pd.DataFrame) -> None:
        """Add `tables/<name>.csv`."""
        _write_table(table, self._file("tables", f"{name}.csv"))

    def add_figure(self, name: str, figure: Figure, *, scalable: bool = False) -> None:
        """Add a figure as a chart of the run page and as a picture.

        Args:
            name: Its name.
            figure: The figure.
            scalable: Whether to add it as SVG, too.
        """
        pixels = figure_to_array(figure)
        picture = Image.fromarray(pixels)
        picture.save(self._file("figures", f"{name}.png"))
        if scalable:
            file = self._file("figures", f"{name}.svg")
            file.write_text(figure_to_svg(figure), encoding="utf-8")
        # Into a file's name MLflow puts the key, its slash as a tilde, the step, the time and a
        # random number.
        begins = rf"{_CHARTS}/{_SECTION}~{name}[+%]"
        earlier = [path for path in self._charts if re.match(begins, path)]
        for path in earlier:
            chart = compress_image_size(picture.copy()) if path.endswith(".webp") else picture
            chart.save(self._file(*Path(path).parts))
        if not earlier:
            MlflowClient().log_image(self._run_id, pixels, key=f"{_SECTION}/{name}", step=0)

    def _file(self, *parts: str) -> Path:
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(exist_ok=True)
        return path


@contextmanager
def evaluated(run_id: str) -> Iterator[Evaluated]:
    """Collect tables and figures, and log all of them at once."""
    with tempfile.TemporaryDirectory(prefix="evaluation_") as folder:
        yield Evaluated(run_id, Path(folder))
        MlflowClient().log_artifacts(run_id, folder)


def _write_table(table: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False)
