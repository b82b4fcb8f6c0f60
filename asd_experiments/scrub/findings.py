"""What in finished runs shows people or says who they are, and what becomes of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pandas as pd
from mlflow.artifacts import load_dict
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from asd_experiments.pseudonyms import ID_COLUMNS, naming_pattern
from asd_experiments.registry.card import CARD_TEXT
from asd_experiments.registry.records import CARD
from asd_experiments.registry.versions import versions_of
from asd_experiments.tracking.finished_sweep import TRIALS
from asd_experiments.tracking.finished_trial import STORE, VIDEOS, why_not_comparable
from asd_experiments.tracking.labels import is_nameless
from asd_experiments.tracking.runs import ERROR

CARDS = "cards of its registered versions"
"""Name of the finding that these are not what they should be."""

Done = Literal["removed", "pseudonyms", "kind alone", "written anew", "cannot be changed"]

_PICTURES = re.compile(
    r"(films|overlays)/.*|report\.html|figures/contact_sheet\.\w+|images/figures~contact_sheet[+%].*"
)
_OF_COLUMNS = re.compile(
    r"(tables|figures)/subgroups\.\w+|images/figures~subgroups[+%].*|model_card\.(html|md)"
)
_TRACEBACK = "traceback.txt"
_WRITTEN = (MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE)


@dataclass(frozen=True)
class Finding:
    """Something in a run that is not to be there."""

    run: Run
    name: str
    """Of the artifact, tag or parameter."""

    done: Done
    """What becomes of it."""

    @property
    def told(self) -> str:
        """Its name, which names nobody: that of a film may be a patient's."""
        folder, _, _ = self.name.partition("/")
        return f"{folder}/" if folder in ("films", "overlays", "images") else self.name


@dataclass
class Found:
    """All that is to be done, and who is named."""

    findings: list[Finding] = field(default_factory=list)
    patients: set[str] = field(default_factory=set)
    videos: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        """All ids, of whatever."""
        return self.patients | self.videos | self.groups

    def add_names(self, table: pd.DataFrame) -> bool:
        """Note the ids in a table; whether there are any."""
        found = False
        for column, names in zip(
            ID_COLUMNS, (self.patients, self.videos, self.groups), strict=True
        ):
            if column in table.columns:
                own = {str(name) for name in table[column].dropna()}
                own = {name for name in own if not is_left(name)}
                names |= own
                found |= bool(own)
        return found


def look_through(runs: Sequence[Run]) -> Found:
    """Look at everything in some runs."""
    found = Found()
    files = {run.info.run_id: list(_files(run)) for run in runs}
    for run in runs:
        for name in files[run.info.run_id]:
            done = _fate(run, name, found)
            if done is not None:
                found.findings.append(Finding(run, name, done))
        if ":" in run.data.tags.get(ERROR, ""):
            found.findings.append(Finding(run, f"tag {ERROR}", "kind alone"))
    names = naming_pattern(found.patients | found.videos, found.groups)
    for run in runs:
        labels_change = Finding(run, VIDEOS, "pseudonyms") in found.findings
        found.findings += [
            Finding(run, name, "removed")
            for name in files[run.info.run_id]
            if labels_change and _OF_COLUMNS.fullmatch(name)
        ]
        found.findings += _in_texts(run, names)
        is_gone = CARD_TEXT not in files[run.info.run_id]
        if _has_wrong_card(run, names, is_gone=is_gone, labels_change=labels_change):
            found.findings.append(Finding(run, CARDS, "written anew"))
    return found


def _has_wrong_card(
    run: Run, names: re.Pattern[str] | None, *, is_gone: bool, labels_change: bool
) -> bool:
    """Whether versions of a run's model tell what they should not, or a scrub left them bare."""
    versions = versions_of(run.info.run_id)
    if not versions or why_not_comparable(run) is not None:
        return False
    is_named = names is not None and any(names.search(v.description or "") for v in versions)
    return labels_change or is_named or (is_gone and any(CARD in v.tags for v in versions))


def is_left(name: str) -> bool:
    """Whether what stands in a column of names is no id: empty, or nameless already."""
    return not name or is_nameless(name)


def _in_texts(run: Run, names: re.Pattern[str] | None) -> Iterator[Finding]:
    """Tags and parameters that hold an id."""
    if names is None:
        return
    for tag, value in run.data.tags.items():
        if _is_written_by_people(tag) and names.search(value):
            yield Finding(run, f"tag {tag}", "pseudonyms")
    for parameter, value in run.data.params.items():
        if names.search(value):
            yield Finding(run, f"parameter {parameter}", "cannot be changed")


def _is_written_by_people(tag: str) -> bool:
    return tag in _WRITTEN or not tag.startswith(("asd.", "mlflow."))


def _files(run: Run, folder: str | None = None) -> Iterator[str]:
    for item in MlflowClient().list_artifacts(run.info.run_id, folder):
        if item.is_dir:
            yield from _files(run, item.path)
        else:
            yield item.path


def _fate(run: Run, name: str, found: Found) -> Done | None:
    """What becomes of an artifact; None: it stays as it is."""
    if _PICTURES.fullmatch(name) or name == _TRACEBACK:
        return "removed"
    if name == STORE:
        failures = pd.DataFrame(read_store(run).get("failures", []))
        return "pseudonyms" if found.add_names(failures) else None
    if not name.endswith((".csv", ".parquet")):
        return None
    try:
        table = read_cells(run, name)
    except UnreadableError:  # whatever is in it, nobody can translate it
        return "removed"
    if name == TRIALS and "error" in table and table["error"].str.contains(":").any():
        return "kind alone"
    return "pseudonyms" if found.add_names(table) else None


class UnreadableError(Exception):
    """A file is there but is no table."""


def read_cells(run: Run, name: str) -> pd.DataFrame:
    """A table with all cells as they are written.

    Raises:
        UnreadableError: If what was fetched is none.
    """
    with TemporaryDirectory(prefix="scrub_") as folder:
        path = MlflowClient().download_artifacts(run.info.run_id, name, folder)
        try:
            if name.endswith(".parquet"):
                return pd.read_parquet(path)
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        except (ValueError, OSError) as error:
            raise UnreadableError(name) from error


def read_store(run: Run) -> dict[str, Any]:
    """What a run tells of its clip store."""
    content: dict[str, Any] = load_dict(f"runs:/{run.info.run_id}/{STORE}")
    return content
