"""The command `scrub`: take out of finished runs what shows people or says who they are."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pandas as pd
from mlflow.entities import Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from asd_experiments.config import ScrubConfig
from asd_experiments.errors import InputError
from asd_experiments.interruption import Interrupted
from asd_experiments.pseudonyms import (
    ID_COLUMNS,
    PARAMETER,
    Pseudonyms,
    in_column,
    is_pseudonym,
    keep_translation,
    own_key,
)
from asd_experiments.tracking.anonymity import ANONYMISED, hidden_record, in_order_of_names
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.finished_trial import (
    FOLDS,
    PREDICTIONS,
    VIDEOS,
    known_run,
    read_table,
    resolved_parameters,
)
from asd_experiments.tracking.labels import hidden_labels
from asd_experiments.tracking.runs import (
    ERROR,
    OPEN_STATES,
    command_run,
    log_parameters,
    runs_below,
    use_tracking_store,
    where_to_see,
)

SCRUBS = "asd.scrubs"
"""Tag of a run of `scrub`: the run that it cleaned."""

Done = Literal["removed", "pseudonyms", "kind alone", "cannot be changed"]

_PICTURES = re.compile(
    r"(films|overlays)/.*|report\.html|figures/contact_sheet\.\w+|images/figures~contact_sheet[+%].*"
)
_SUBGROUPS = re.compile(r"(tables|figures)/subgroups\.\w+|images/figures~subgroups[+%].*")
_TRACEBACK, _STORE, _TRIALS = "traceback.txt", "store.json", "trials.csv"
_NAMED = ("asd.level", "asd.explains", "mlflow.parentRunId", ANONYMISED)


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
class _Found:
    """All that is to be done, and who is named."""

    findings: list[Finding] = field(default_factory=list)
    patients: set[str] = field(default_factory=set)
    videos: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)

    @property
    def names(self) -> bool:
        """Whether anybody is named by an id."""
        return bool(self.patients or self.videos or self.groups)

    def add_names(self, table: pd.DataFrame) -> bool:
        """Note the ids in a table; whether there are any."""
        found = False
        for column, names in zip(
            ID_COLUMNS, (self.patients, self.videos, self.groups), strict=True
        ):
            if column in table.columns:
                own = {str(name) for name in table[column].dropna() if name != ""}
                own = {name for name in own if not is_pseudonym(name)}
                names |= own
                found |= bool(own)
        return found


def scrub(config: ScrubConfig) -> str | None:
    """Take pictures of people and ids out of a run and of all runs below it.

    Without `yes` it only lists what it would do. It can be done again after it broke off.

    Returns:
        Id of the command's own run, which says what was done; None if nothing was.

    Raises:
        InputError: If the run is unknown or not ended, or has pseudonyms of another key.
    """
    use_tracking_store()
    root = known_run(config.run, "run")
    runs = list(_with_all_below(root))
    for run in runs:
        if run.info.status in OPEN_STATES:
            raise InputError(
                f"run: {run.info.run_id} is {run.info.status}; scrub it when it has ended"
            )
    found = _look_through(runs)
    print("\n".join(_lines(found.findings, planned=not config.yes)))
    changes = [finding for finding in found.findings if finding.done != "cannot be changed"]
    if not changes:
        return None
    if not config.yes:
        print("Nothing was changed. Do it by yes=true; what is removed cannot be had back.")
        return None
    pseudonyms = _pseudonyms(config, runs, found) if found.names else None
    try:
        with command_run(None, f"scrub {root.info.run_name}", discreet=True) as run_id:
            _log_start(run_id, config, found.findings)
            if pseudonyms is not None:
                for run in runs:  # before anything else: what is broken off is found again by it
                    MlflowClient().set_tag(run.info.run_id, ANONYMISED, pseudonyms.fingerprint)
            # Tables last: as long as one has ids, all else is found again.
            for finding in sorted(changes, key=_is_table):
                _do(finding, pseudonyms)
    except Interrupted as error:
        raise SystemExit(f"scrub: {error}; give the same command again to go on") from error
    print("\n".join(where_to_see(run_id)))
    return run_id


def _is_table(finding: Finding) -> bool:
    return finding.done == "pseudonyms" and not finding.name.startswith("tag ")


def _with_all_below(run: Run) -> Iterator[Run]:
    yield run
    for child in runs_below(run):
        yield from _with_all_below(child)


def _look_through(runs: Sequence[Run]) -> _Found:
    found = _Found()
    files = {run.info.run_id: list(_files(run)) for run in runs}
    for run in runs:
        for name in files[run.info.run_id]:
            done = _fate(run, name, found)
            if done is not None:
                found.findings.append(Finding(run, name, done))
        if ":" in run.data.tags.get(ERROR, ""):
            found.findings.append(Finding(run, f"tag {ERROR}", "kind alone"))
    for run in runs:
        labels_change = Finding(run, VIDEOS, "pseudonyms") in found.findings
        found.findings += [
            Finding(run, name, "removed")
            for name in files[run.info.run_id]
            if labels_change and _SUBGROUPS.fullmatch(name)
        ]
        found.findings += _in_texts(run, Pseudonyms(bytes(32), found.patients, found.videos))
    return found


def _in_texts(run: Run, names: Pseudonyms) -> Iterator[Finding]:
    """Tags and parameters that hold an id."""
    for tag, value in run.data.tags.items():
        if tag != ERROR and tag not in _NAMED and names.text(value) != value:
            yield Finding(run, f"tag {tag}", "pseudonyms")
    for parameter, value in run.data.params.items():
        if names.text(value) != value:
            yield Finding(run, f"parameter {parameter}", "cannot be changed")


def _files(run: Run, folder: str | None = None) -> Iterator[str]:
    for item in MlflowClient().list_artifacts(run.info.run_id, folder):
        if item.is_dir:
            yield from _files(run, item.path)
        else:
            yield item.path


def _fate(run: Run, name: str, found: _Found) -> Done | None:
    """What becomes of an artifact; None: it stays as it is."""
    if _PICTURES.fullmatch(name) or name == _TRACEBACK:
        return "removed"
    if name == _STORE:
        failures = pd.DataFrame(_read_json(run).get("failures", []))
        return "pseudonyms" if found.add_names(failures) else None
    if not name.endswith((".csv", ".parquet")):
        return None
    try:
        table = _read(run, name)
    except _UnreadableError:  # whatever is in it, nobody can translate it
        return "removed"
    if name == _TRIALS and "error" in table and table["error"].str.contains(":").any():
        return "kind alone"
    return "pseudonyms" if found.add_names(table) else None


def _do(finding: Finding, pseudonyms: Pseudonyms | None) -> None:
    run, client = finding.run, MlflowClient()
    run_id = run.info.run_id
    if finding.done == "removed":
        get_artifact_repository(run.info.artifact_uri).delete_artifacts(finding.name)
    elif finding.name == f"tag {ERROR}":
        client.set_tag(run_id, ERROR, _kind(run.data.tags[ERROR]))
    elif finding.name == _TRIALS:
        table = _read(run, _TRIALS)
        log_table(run_id, table.assign(error=table["error"].map(_kind)), _TRIALS)
    elif pseudonyms is None:
        raise RuntimeError(f"{finding.told} needs pseudonyms")
    elif finding.name.startswith("tag "):
        tag = finding.name.removeprefix("tag ")
        client.set_tag(run_id, tag, pseudonyms.text(run.data.tags[tag]))
    elif finding.name == _STORE:
        origin = _read_json(run)
        failures = [
            failure
            if is_pseudonym(str(failure.get("video")))
            else hidden_record(failure, pseudonyms)
            for failure in origin["failures"]
        ]
        client.log_dict(run_id, {**origin, "failures": failures}, _STORE)
    else:
        log_table(run_id, _translated(run, finding.name, pseudonyms), finding.name)


def _translated(run: Run, name: str, pseudonyms: Pseudonyms) -> pd.DataFrame:
    kinds: dict[str, Callable[[str], str]] = dict(
        zip(ID_COLUMNS, (pseudonyms.patient, pseudonyms.video, pseudonyms.group), strict=True)
    )
    labels = read_table(run, VIDEOS) if name == VIDEOS else None
    if labels is not None:
        group_by = resolved_parameters(run).get("group_by", "patient_id")
        return in_order_of_names(hidden_labels(labels, pseudonyms, group_by))
    table = _read(run, name)
    for column in (c for c in ID_COLUMNS if c in table.columns):
        table[column] = in_column(table[column], partial(_renamed, of=kinds[column]))
    return in_order_of_names(table) if name in (FOLDS, PREDICTIONS) else table


def _renamed(name: str, of: Callable[[str], str]) -> str:
    """A name's pseudonym; what has one already, and an empty cell, stay as they are."""
    return name if not name or is_pseudonym(name) else of(name)


class _UnreadableError(Exception):
    """A file is there but is no table."""


def _read(run: Run, name: str) -> pd.DataFrame:
    """A table with all cells as they are written.

    Raises:
        _UnreadableError: If what was fetched is none.
    """
    with TemporaryDirectory(prefix="scrub_") as folder:
        path = MlflowClient().download_artifacts(run.info.run_id, name, folder)
        try:
            if name.endswith(".parquet"):
                return pd.read_parquet(path)
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        except (ValueError, OSError) as error:
            raise _UnreadableError(name) from error


def _read_json(run: Run) -> dict[str, Any]:
    with TemporaryDirectory(prefix="scrub_") as folder:
        path = MlflowClient().download_artifacts(run.info.run_id, _STORE, folder)
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return content


def _kind(error: str) -> str:
    """Of an error its kind, without its message."""
    return error.partition(":")[0]


def _pseudonyms(config: ScrubConfig, runs: Sequence[Run], found: _Found) -> Pseudonyms:
    pseudonyms = Pseudonyms(own_key(config.pseudonym_key), found.patients, found.videos)
    others = {run.data.tags.get(ANONYMISED) for run in runs} - {None, pseudonyms.fingerprint}
    if others:
        raise InputError(
            f"{PARAMETER}: some of these runs have pseudonyms of the key {others.pop()}, got the "
            f"key {pseudonyms.fingerprint}; give the file of that key, or scrub one run at a time"
        )
    table = pseudonyms.translation(sorted(found.groups))
    path = keep_translation(table, pseudonyms.fingerprint, config.pseudonym_key)
    print(f"Who is who: {path}")
    return pseudonyms


def _lines(findings: Sequence[Finding], *, planned: bool) -> list[str]:
    """What is done, a line for each run and thing, folders of many files in one."""
    if not findings:
        return ["No picture of a person, no id and no error was found: there is nothing to scrub."]
    words = {
        "removed": "is removed",
        "pseudonyms": "gets pseudonyms in the place of ids",
        "kind alone": "keeps the kind of an error and loses its message",
        "cannot be changed": "names somebody and cannot be changed; see docs/privacy.md",
    }
    counts = Counter((f.run.info.run_id, f.told, f.done) for f in findings)
    lines = ["This would be done:" if planned else "This is done:"]
    for (run_id, name, done), count in counts.items():
        files = f" ({count} files)" if name.endswith("/") else ""
        lines.append(f"  run {run_id}: {name}{files} {words[done]}")
    return lines


def _log_start(run_id: str, config: ScrubConfig, findings: Sequence[Finding]) -> None:
    """Say in the command's own run what becomes of what; it names nobody."""
    client = MlflowClient()
    client.set_tag(run_id, "asd.level", "scrub")
    client.set_tag(run_id, SCRUBS, config.run)
    log_parameters(run_id, {"run": config.run, "yes": config.yes})
    counts = Counter((f.run.info.run_id, f.told, f.done) for f in findings)
    rows = [(*what, count) for what, count in counts.items()]
    log_table(
        run_id, pd.DataFrame(rows, columns=["run_id", "what", "done", "count"]), "scrubbed.csv"
    )
