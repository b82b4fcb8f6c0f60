"""The command `scrub`: take out of finished runs what shows people or says who they are."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd
from mlflow.entities import Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from asd_experiments.config import ScrubConfig
from asd_experiments.errors import InputError
from asd_experiments.interruption import Interrupted
from asd_experiments.pseudonyms import (
    PARAMETER,
    Pseudonyms,
    is_pseudonym,
    keep_translation,
    own_key,
)
from asd_experiments.registry.records import describe
from asd_experiments.registry.versions import versions_of
from asd_experiments.scrub.findings import (
    CARDS,
    Finding,
    Found,
    is_left,
    look_through,
    read_cells,
    read_store,
)
from asd_experiments.tracking.anonymity import ANONYMISED, hidden_record, in_order_of_names
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.finished_sweep import TRIALS
from asd_experiments.tracking.finished_trial import (
    FOLDS,
    PREDICTIONS,
    STORE,
    VIDEOS,
    FinishedTrial,
    group_by_of,
    known_run,
    read_table,
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
    found = look_through(runs)
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
                    _hide_in_descriptions(run, pseudonyms)
            for finding in sorted(changes, key=_place):
                _do(finding, pseudonyms)
    except Interrupted as error:
        raise SystemExit(f"scrub: {error}; give the same command again to go on") from error
    print("\n".join(where_to_see(run_id)))
    return run_id


def _place(finding: Finding) -> int:
    """Tables come late: as long as one has ids, all else is found again. Cards are made of them."""
    if finding.name == CARDS:
        return 2
    return int(finding.done == "pseudonyms" and not finding.name.startswith("tag "))


def _with_all_below(run: Run) -> Iterator[Run]:
    yield run
    for child in runs_below(run):
        yield from _with_all_below(child)


def _do(finding: Finding, pseudonyms: Pseudonyms | None) -> None:
    run, client = finding.run, MlflowClient()
    run_id = run.info.run_id
    if finding.done == "removed":
        get_artifact_repository(run.info.artifact_uri).delete_artifacts(finding.name)
    elif finding.name == CARDS:
        trial = FinishedTrial.read(run_id)
        for version in versions_of(run_id):
            describe(version, trial)
    elif finding.name == f"tag {ERROR}":
        client.set_tag(run_id, ERROR, _kind(run.data.tags[ERROR]))
    elif finding.name == TRIALS:
        table = read_cells(run, TRIALS)
        log_table(run_id, table.assign(error=table["error"].map(_kind)), TRIALS)
    elif pseudonyms is None:
        raise RuntimeError(f"{finding.told} needs pseudonyms")
    elif finding.name.startswith("tag "):
        tag = finding.name.removeprefix("tag ")
        client.set_tag(run_id, tag, pseudonyms.text(run.data.tags[tag]))
    elif finding.name == STORE:
        origin = read_store(run)
        failures = [
            failure
            if is_pseudonym(str(failure.get("video")))
            else hidden_record(failure, pseudonyms)
            for failure in origin["failures"]
        ]
        client.log_dict(run_id, {**origin, "failures": failures}, STORE)
    else:
        log_table(run_id, _translated(run, finding.name, pseudonyms), finding.name)


def _translated(run: Run, name: str, pseudonyms: Pseudonyms) -> pd.DataFrame:
    labels = read_table(run, VIDEOS) if name == VIDEOS else None
    if labels is not None:
        return in_order_of_names(hidden_labels(labels, pseudonyms, group_by_of(run)))
    table = pseudonyms.table(read_cells(run, name), is_left)
    return in_order_of_names(table) if name in (FOLDS, PREDICTIONS) else table


def _hide_in_descriptions(run: Run, pseudonyms: Pseudonyms) -> None:
    for version in versions_of(run.info.run_id):
        text = version.description or ""
        if (hidden := pseudonyms.text(text)) != text:
            MlflowClient().update_model_version(version.name, str(version.version), hidden)


def _kind(error: str) -> str:
    """Of an error its kind, without its message."""
    return error.partition(":")[0]


def _pseudonyms(config: ScrubConfig, runs: Sequence[Run], found: Found) -> Pseudonyms:
    key = own_key(config.pseudonym_key)
    pseudonyms = Pseudonyms(key, found.patients, found.videos, found.groups)
    others = {run.data.tags.get(ANONYMISED) for run in runs} - {None, pseudonyms.fingerprint}
    if others:
        raise InputError(
            f"{PARAMETER}: some of these runs have pseudonyms of the key {others.pop()}, got the "
            f"key {pseudonyms.fingerprint}; give the file of that key, or scrub one run at a time"
        )
    print(keep_translation(pseudonyms.translation(), pseudonyms.fingerprint, config.pseudonym_key))
    return pseudonyms


def _lines(findings: Sequence[Finding], *, planned: bool) -> list[str]:
    """What is done, a line for each run and thing, folders of many files in one."""
    if not findings:
        return ["No picture of a person, no id and no error was found: there is nothing to scrub."]
    words = {
        "removed": "is removed",
        "pseudonyms": "gets pseudonyms in the place of ids",
        "kind alone": "keeps the kind of an error and loses its message",
        "written anew": "are written anew from what is left",
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
