"""What a sweep does with one configuration: a cross-validated trial, judged by inner validation."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asd_experiments.config import Device, TrainConfig, close_defaults
from asd_experiments.data.store import ClipStore
from asd_experiments.demo import DEMO_DEFAULTS
from asd_experiments.errors import InputError
from asd_experiments.pseudonyms import Pseudonyms
from asd_experiments.tracking.anonymity import told_by
from asd_experiments.tracking.runs import child_run, use_tracking_store
from asd_experiments.tracking.trial import default_name, run_trial
from asd_experiments.training.checkpoints import TrialFolder
from asd_experiments.training.cross_validation import CrossValidation, check_trial

INNER = "val/"
"""How every metric begins that a search may see: none of the outer test patients' does."""

Report = Callable[[int, float], None]
"""Told the step and the folds' mean validation loss so far; raises `PrunedError` to stop."""


@dataclass(frozen=True)
class Task:
    """What every trial of a sweep has in common; it is sent to the processes that run them."""

    sweep_run_id: str
    """The sweep's run in MLflow."""

    tracking_uri: str
    """Where the runs are tracked, absolute."""

    store: str
    """Clip store, which all trials read."""

    is_demo: bool
    """Whether the store is the simulated cohort, for which networks are small."""

    folder: str
    """Folder of the sweep, which every process that runs trials can reach."""

    device: Device
    """Where trials are trained, see `TrainConfig`."""

    loader_workers: int
    """Processes that read clips beside each trial."""

    metrics: tuple[str, ...]
    """What a configuration is judged by."""

    pseudonyms: Pseudonyms | None = None
    """What patients and videos are called in all that is logged; None: by their ids."""

    @property
    def defaults(self) -> dict[str, object]:
        """What the sweep closes open parameters with, before `TrialConfig` does."""
        return DEMO_DEFAULTS if self.is_demo else {}

    @property
    def told(self) -> Callable[[str], str] | None:
        """What turns an error of a trial into one that may be logged; None: nothing has to."""
        return told_by(self.pseudonyms)


RunConfiguration = Callable[[Task, str, Mapping[str, Any], Report], tuple[float, ...]]
"""Runs one configuration, as `run_configuration` does."""


def run_configuration(
    task: Task, key: str, parameters: Mapping[str, Any], report: Report
) -> tuple[float, ...]:
    """Cross-validate one configuration in a run of its own below the sweep's.

    A trial whose process died goes on in the run, and from the epoch, that it had reached.

    Args:
        task: What all trials have in common.
        key: What tells the trial from the others, the same when it is tried again.
        parameters: Fields of `TrainConfig`.
        report: Told of every epoch.

    Returns:
        Value of each of the task's metrics.

    Raises:
        InputError: If the configuration cannot be trained, or a metric is undefined.
        PrunedError: If `report` says so.
    """
    # The run of the sweep is inherited by every process below it; none of them writes there.
    os.environ.pop("MLFLOW_RUN_ID", None)
    use_tracking_store(task.tracking_uri)
    wanted = TrainConfig(
        store=task.store,
        checkpoints=str(Path(task.folder) / "trials"),
        loader_workers=task.loader_workers,
        device=task.device,
        anonymise=task.pseudonyms is not None,
        **parameters,
    )
    name = f"trial {key}: {default_name(wanted)}"
    with child_run(task.sweep_run_id, name, level="trial", key=key, told=task.told) as run_id:
        config = close_defaults(wanted, **task.defaults)
        store = ClipStore(task.store)
        pretrained = check_trial(config)
        validation = CrossValidation(config, store, pretrained)
        if config.find_batch_size:
            config = replace(config, batch_size=validation.find_batch_size())
            validation = CrossValidation(config, store, pretrained)
        root = Path(config.checkpoints)
        known = (root / run_id).is_dir()
        folder = (
            TrialFolder.find(root, run_id)
            if known
            else TrialFolder.new(root, run_id, config, store.digest, pretrained)
        )
        try:
            progress = _Reporter(report, config.epochs)
            metrics, _ = run_trial(
                config,
                store,
                validation,
                run_id,
                folder,
                progress,
                pseudonyms=task.pseudonyms,
                judged_by=task.metrics,
            )
        except BaseException:
            folder.close()
            raise
        values = values_of(metrics, task.metrics)
        folder.delete()
    return values


def values_of(metrics: Mapping[str, float], names: Sequence[str]) -> tuple[float, ...]:
    """What a trial is judged by; nothing else of its metrics goes to a searcher.

    Raises:
        InputError: If a metric was not computed, as with a class that inner validation lacks.
    """
    if strangers := [name for name in names if not name.startswith(INNER)]:
        raise InputError(f"a search judges by {INNER}... alone, got {', '.join(strangers)}")
    if missing := [name for name in names if name not in metrics]:
        raise InputError(f"{', '.join(missing)} is undefined on these patients; choose another")
    return tuple(metrics[name] for name in names)


class _Reporter:
    """Turns the epochs of all folds into one series: the mean of the folds' best losses so far."""

    def __init__(self, report: Report, epochs: int) -> None:
        self._report = report
        self._epochs = epochs
        self._best: dict[int, float] = {}
        self._done = 0

    def epoch(self, fold: int, loss: float) -> None:
        self._done = 1 if fold not in self._best else self._done + 1
        self._best[fold] = min(loss, self._best.get(fold, loss))
        step = fold * self._epochs + self._done
        self._report(step, sum(self._best.values()) / len(self._best))

    def fold_done(self, fold: int, *, epochs: int, best_epoch: int, loss: float) -> None:
        pass

    def say(self, line: str) -> None:
        pass
