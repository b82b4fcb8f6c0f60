"""What an unfinished trial leaves behind, so that it can be resumed after a crash."""

import fcntl
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import torch

from asd_experiments.config import TrialConfig, as_text
from asd_experiments.errors import InputError
from asd_experiments.models.pretrained import FittedWeights
from asd_experiments.models.two_stream import build_two_stream
from asd_experiments.training.files import write_atomically
from asd_experiments.training.fit import FoldResult, precision, training_device
from asd_experiments.training.refit import RefitResult

TRIAL, RESULT, PREDICTIONS, LOCK = "trial.json", "result.pt", "predictions.parquet", "lock"
REFIT = "refit"

_MAY_DIFFER = {
    *("store", "pretrained", "motion_pretrained"),
    *("anonymise", "pseudonym_key", "checkpoints", "resume", "run_name", "loader_workers"),
    "final",
}
"""Parameters that change nothing in what is kept; of the store and of the weights, the digests are
compared."""


class TrialFolder:
    """Folder of one trial: its configuration, its finished trainings and the interrupted one.

    A process holds it by a lock that ends with the process, so no two can work on it.

    Args:
        path: The folder, existing.
        facts: What is in its `trial.json`.

    Raises:
        InputError: If another process works on it.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self._facts = facts
        self._lock: TextIO = (path / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise InputError(f"resume: the trial in {path} is still running") from error

    @classmethod
    def new(
        cls,
        root: Path,
        run_id: str,
        config: TrialConfig,
        digest: str,
        pretrained: Mapping[str, FittedWeights],
    ) -> "TrialFolder":
        """Make the folder of a trial that begins.

        Args:
            root: Folder of all trials' folders.
            run_id: Run of the trial, which gives the folder its name.
            config: Configuration of the trial.
            digest: Digest of its clip store.
            pretrained: Weights that its backbones start from, by their keys; none: fresh ones.
        """
        path = root / run_id
        path.mkdir(parents=True)
        facts = {
            "runs": [run_id],
            "digest": digest,
            "weights": _digests(pretrained),
            "config": _decisive(config),
        }
        folder = cls(path, facts)
        folder._write_facts()
        return folder

    @classmethod
    def find(cls, root: Path, run_id: str) -> "TrialFolder":
        """Find what a run left behind, or what a later run that continued it did.

        Raises:
            InputError: If there is nothing, or a process works on it.
        """
        for file in sorted(root.glob(f"*/{TRIAL}")):
            facts = json.loads(file.read_text())
            if run_id in facts["runs"]:
                return cls(file.parent, facts)
        raise InputError(
            f"resume: {root.resolve()} has nothing of run {run_id}. It holds trials that began "
            "there and did not finish; start the training anew, or give its own checkpoints="
        )

    @property
    def runs(self) -> tuple[str, ...]:
        """Runs of the trial so far, the first one first."""
        return tuple(self._facts["runs"])

    @property
    def batch_size(self) -> int:
        """Batch size of the trial, found or given."""
        return int(self._facts["config"]["batch_size"])

    def check(
        self, config: TrialConfig, digest: str, pretrained: Mapping[str, FittedWeights]
    ) -> None:
        """Refuse a configuration, data set or weights that would give another result.

        Args:
            config: Configuration of the trial.
            digest: Digest of its clip store.
            pretrained: Weights that its backbones start from, by their keys; none: fresh ones.

        Raises:
            InputError: With every parameter that differs.
        """
        known, given = self._facts["config"], _decisive(config)
        problems = [
            f"{name}: the trial began with {as_text(known.get(name))!r}, got {as_text(value)!r}"
            for name, value in given.items()
            if value != known.get(name)
        ]
        if digest != self._facts["digest"]:
            problems.append("store: its content is not what the trial began with")
        weights = self._facts.get("weights", {})
        if _digests(pretrained) != weights:
            problems.append(
                "pretrained, motion_pretrained: the trial began with "
                f"{_listed(weights)}, got {_listed(_digests(pretrained))}"
            )
        if problems:
            rule = "a trial is resumed with the parameters that it began with:"
            raise InputError("\n  ".join([f"resume: {rule}", *problems]))

    def continued_by(self, run_id: str) -> None:
        """Add a run to those of the trial; each of them finds it from now on."""
        self._facts["runs"].append(run_id)
        self._write_facts()

    def fold(self, number: int) -> Path:
        """Folder of a fold."""
        return self._folder(f"fold_{number + 1}")

    @property
    def refit(self) -> Path:
        """Folder of the training on all patients."""
        return self._folder(REFIT)

    def _folder(self, name: str) -> Path:
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path

    def keep(self, result: FoldResult) -> None:
        """Keep a finished fold, and none of what its training needed."""
        folder = self.fold(result.fold)
        result.predictions.to_parquet(folder / PREDICTIONS, index=False)
        kept = {
            "network": result.network.state_dict(),
            "best_epoch": result.best_epoch,
            "history": result.history,
            "seconds": result.seconds,
        }
        _keep(folder, kept)

    def finished(self, number: int, config: TrialConfig, num_classes: int) -> FoldResult | None:
        """A fold that was kept; None if it has still to be trained."""
        folder = self.fold(number)
        if not (folder / RESULT).exists():
            return None
        predictions = pd.read_parquet(folder / PREDICTIONS)
        return FoldResult(
            fold=number, predictions=predictions, **_kept(folder, config, num_classes)
        )

    def keep_refit(self, result: RefitResult) -> None:
        """Keep the finished network of all patients, and none of what its training needed."""
        kept = {"network": result.network.state_dict(), "history": result.history}
        _keep(self.refit, {**kept, "seconds": result.seconds})

    def finished_refit(self, config: TrialConfig, num_classes: int) -> RefitResult | None:
        """The network of all patients that was kept; None if it has still to be trained."""
        if not (self.refit / RESULT).exists():
            return None
        return RefitResult(**_kept(self.refit, config, num_classes))

    def close(self) -> None:
        """Let another process work on it."""
        self._lock.close()

    def delete(self) -> None:
        """Delete everything: the trial is finished."""
        self.close()
        shutil.rmtree(self.path)

    def _write_facts(self) -> None:
        text = json.dumps(self._facts, indent=1)
        write_atomically(self.path / TRIAL, lambda path: path.write_text(text))


def _keep(folder: Path, result: Mapping[str, Any]) -> None:
    """Keep what a training led to, and delete what it needed."""
    write_atomically(folder / RESULT, lambda path: torch.save(result, path))
    for file in folder.iterdir():
        if file.name not in (RESULT, PREDICTIONS):
            file.unlink()


def _kept(folder: Path, config: TrialConfig, num_classes: int) -> dict[str, Any]:
    """What was kept of a training, its network built again."""
    kept: dict[str, Any] = torch.load(folder / RESULT, map_location="cpu", weights_only=True)
    network = build_two_stream(**config.network, num_classes=num_classes)
    network.load_state_dict(kept["network"])
    return {**kept, "network": network.eval()}


def _digests(pretrained: Mapping[str, FittedWeights]) -> dict[str, str]:
    return {key: weights.sha256 for key, weights in pretrained.items()}


def _listed(digests: Mapping[str, str]) -> str:
    """What the networks start from, for people."""
    named = [f"{key} weights of SHA-256 {digest[:12]}" for key, digest in digests.items()]
    return " and ".join(named) or "fresh weights"


def _decisive(config: TrialConfig) -> Mapping[str, Any]:
    """Parameters that the result depends on, as they are on this machine."""
    resolved = {
        **asdict(config),
        "device": training_device(config.device),
        "precision": precision(config),
        "clip_stride": config.stride,
    }
    return {name: value for name, value in resolved.items() if name not in _MAY_DIFFER}
