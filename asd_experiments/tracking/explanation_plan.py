"""What an explanation works on: found and checked before any long work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool

from asd_experiments.config import ExplainConfig
from asd_experiments.data.clips import list_clips
from asd_experiments.data.store import ClipStore, StoredFrames
from asd_experiments.errors import InputError
from asd_experiments.evaluation.predictions import probability_columns
from asd_experiments.explanation.body import Coverage, coverage_by_source
from asd_experiments.explanation.saliency import Saliency, explain_clip
from asd_experiments.explanation.selection import choose_clips, choose_patients, judged_patients
from asd_experiments.interruption import raise_if_stopped
from asd_experiments.models.memory_layout import move
from asd_experiments.models.two_stream import TwoStream
from asd_experiments.pseudonyms import Pseudonyms
from asd_experiments.tracking.anonymity import hidden, pseudonyms_of_run
from asd_experiments.tracking.trained_trial import TrainedTrial
from asd_experiments.training.fit import device_problem, training_device
from asd_experiments.training.prediction import predict_clips

DEFAULT_COUNT = 4
"""Patients that are explained where nobody says whom or how many."""

ON_A_CPU, ON_A_GPU = 1e-3, 1e-2
"""Largest differences between a probability and the one that the trial logged. A CPU computes with
24 bits of mantissa; a GPU's convolutions with 10, which comes to less than a hundredth."""

Explainer = Callable[[TwoStream], Saliency]


@dataclass(frozen=True)
class ExplanationPlan:
    """Clips to explain, and all that it takes to do so."""

    config: ExplainConfig
    """What was asked for."""

    trial: TrainedTrial
    """Whose decisions are explained."""

    store: ClipStore
    """What it was trained on."""

    clips: pd.DataFrame
    """Rows of `choose_clips`, with their places in the store."""

    device: str
    """Where to compute."""

    pseudonyms: Pseudonyms | None
    """What the trial calls patients and videos; None: by their ids."""

    def __len__(self) -> int:
        return len(self.clips)

    def network(self, row: int) -> TwoStream:
        """The network that tested a clip's patient."""
        network = self.trial.model.network(int(self.clips["fold"].iloc[row]))
        move(network.eval(), self.device)
        return network

    def fresh_network(self) -> TwoStream:
        """A network like the trial's as a training starts."""
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed)
            return self.trial.model.fresh_network()

    def explainer(self, row: int) -> Explainer:
        """What explains a clip, by any network."""
        sample = self.trial.model.dataset(self.store, self.clips)[row, None]
        clip = {
            "appearance": sample["appearance"].to(self.device),
            "motion": sample["motion"].to(self.device),
        }
        target = self.trial.predictions.classes.index(self.clips["decision"].iloc[row])
        steps, batch_size = self.config.steps, self.config.batch_size

        def explain_by(network: TwoStream) -> Saliency:
            raise_if_stopped()
            return explain_clip(network, clip, target, steps=steps, batch_size=batch_size)

        return explain_by

    def frames(self, row: int) -> StoredFrames:
        """A clip as it is stored."""
        facts = self.clips.iloc[row]
        return self.store.read(facts["key"], int(facts["clip_start"]), int(facts["clip_stop"]))

    def coverage(self, row: int) -> dict[str, Coverage]:
        """Where the body is in a clip; see `coverage_by_source`."""
        network = self.trial.model.spec.network
        return coverage_by_source(
            self.frames(row).mask, clip_length=network["clip_length"], size=network["size"]
        )

    def seen(self, row: int) -> dict[str, Bool[np.ndarray, "time height width"]]:
        """Where a network is shown anything: on the body, or everywhere without segmentation."""
        everywhere = not self.trial.model.spec.segmentation
        return {
            source: np.asarray((regions["body"] > 0) | everywhere)
            for source, regions in self.coverage(row).items()
        }


def make_plan(config: ExplainConfig) -> ExplanationPlan:
    """Find everything, and refuse what cannot be explained.

    Raises:
        InputError: If machine, trial, store and patients do not fit together, or the networks do
            not give the probabilities that the trial logged.
    """
    if problem := device_problem(config.device):
        raise InputError(problem)
    trial = TrainedTrial.read(config.run)
    store = trial.store(config.store)
    pseudonyms = pseudonyms_of_run(trial.run, store, config.pseudonym_key)
    patients = choose_patients(
        judged_patients(trial.predictions),
        chosen=logged_names(config.patient_ids, store, pseudonyms),
        count=config.count,
        default_count=DEFAULT_COUNT,
    )
    clips = choose_clips(patients, trial.predictions, config.clips)
    spec = trial.model.spec
    places = list_clips(
        store.videos, clip_length=spec.network["clip_length"], clip_stride=spec.clip_stride
    )
    places = places[["video", "clip_start", "clip_stop", "key", "frame_rate_hz"]]
    clips = clips.merge(
        hidden(places, pseudonyms), on=["video", "clip_start"], validate="one_to_one"
    )
    plan = ExplanationPlan(config, trial, store, clips, training_device(config.device), pseudonyms)
    _check_probabilities(plan)
    return plan


def logged_names(
    patients: Sequence[str], store: ClipStore, pseudonyms: Pseudonyms | None
) -> list[str]:
    """What a trial calls patients that are named by their ids, or as it calls them already."""
    ids = set(store.videos["patient_id"])
    return [
        patient if pseudonyms is None or patient not in ids else pseudonyms.patient(patient)
        for patient in patients
    ]


def _check_probabilities(plan: ExplanationPlan) -> None:
    """Refuse networks that do not say of the clips what the trial's predictions say."""
    model = plan.trial.model
    on_cpu = plan.device == plan.trial.device == "cpu"
    tolerance = ON_A_CPU if on_cpu else ON_A_GPU
    columns = probability_columns(model.spec.classes)
    for fold in plan.clips["fold"].unique():
        rows = plan.clips[plan.clips["fold"] == fold]
        found = predict_clips(
            model.network(int(fold)),
            model.dataset(plan.store, rows),
            model.spec.classes,
            batch_size=plan.config.batch_size,
            device=plan.device,
            by_stream=False,
        )
        difference = np.abs(found[columns].to_numpy() - rows[columns].to_numpy()).max()
        if not difference <= tolerance:
            raise InputError(
                f"the network of fold {int(fold) + 1} must give its test clips the logged "
                f"probabilities within {tolerance:g}, they differ by up to "
                f"{difference:.4f}: what would be explained is not what the trial reports. Use the "
                "versions of asd_experiments and PyTorch that trained it"
            )
