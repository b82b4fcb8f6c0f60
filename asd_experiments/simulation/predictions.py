"""Prediction tables of trials whose true AUROC is known, to test what is said about trials.

Every clip has a score per class: `separation` times (1 for the true class, 0 for others) plus an
effect of the patient plus one of the clip, both normal, and centred so that the scores of a clip
sum to zero. Probabilities are the scores on a straight line, so a patient's mean probability is
that of its mean score, and the AUROC at every unit has a closed form (the binormal model).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import optimize, stats

from asd_experiments.evaluation.predictions import probability_columns

_CLIP_FRAMES = 16
_CLIPS_PER_VIDEO = 3
_FRAME_RATE_HZ = 25
_SPAN = 8.0
"""Standard deviations from the middle to a probability of 0, which no clip ever reaches."""


@dataclass(frozen=True)
class PredictedCohort:
    """The patients that simulated trials are tested on."""

    class_sizes: Mapping[str, int] = field(default_factory=lambda: {"ASD": 54, "non-ASD": 27})
    """Number of patients of each class; the default is the size of the published study."""

    clips_per_patient: tuple[int, int] = (12, 36)
    """Fewest and most clips of a patient; all numbers between are equally likely."""

    intra_class_correlation: float = 0.5
    """Share of the variance of a clip's score, within its class, that is its patient's."""

    folds: int = 5
    """Outer folds; every patient is tested in one of them."""

    validation: bool = False
    """Whether the patients tested in the next fold are this fold's validation patients."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        fewest, most = self.clips_per_patient
        if len(self.class_sizes) < 2 or min(self.class_sizes.values()) < 1:
            raise ValueError(
                f"class_sizes must hold patients of two classes, got {dict(self.class_sizes)}"
            )
        if not 1 <= fewest <= most:
            raise ValueError(f"clips_per_patient must be from 1 up, got {fewest} to {most}")
        if not 0 <= self.intra_class_correlation <= 1:
            raise ValueError(
                "intra_class_correlation must be between 0 and 1, "
                f"got {self.intra_class_correlation}"
            )
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")

    @property
    def classes(self) -> list[str]:
        """All classes in their fixed order."""
        return list(self.class_sizes)

    def patient_auroc(self, separation: float) -> float:
        """True AUROC at patient level, of one class against the rest; the same for each class."""
        counts = np.arange(self.clips_per_patient[0], self.clips_per_patient[1] + 1)
        spread = self._patient_variance(counts)
        return float(stats.norm.cdf(separation / np.sqrt(spread[:, None] + spread)).mean())

    def clip_auroc(self, separation: float) -> float:
        """True AUROC at clip level."""
        return float(stats.norm.cdf(separation / np.sqrt(2)))

    def patient_sensitivity(self, separation: float) -> float:
        """True sensitivity at patient level of the threshold 0.5, for two classes."""
        counts = np.arange(self.clips_per_patient[0], self.clips_per_patient[1] + 1)
        spread = self._patient_variance(counts)
        return float(stats.norm.cdf(separation / 2 / np.sqrt(spread)).mean())

    def separation(self, patient_auroc: float) -> float:
        """How far apart the classes are, in standard deviations of a clip's score.

        Args:
            patient_auroc: True AUROC at patient level, from 0.5 to 0.9999.

        Raises:
            ValueError: If it is out of this range.
        """
        if not 0.5 <= patient_auroc <= 0.9999:
            raise ValueError(f"patient_auroc must be from 0.5 to 0.9999, got {patient_auroc}")
        return float(optimize.brentq(lambda x: self.patient_auroc(x) - patient_auroc, 0, 20))

    def _patient_variance(self, counts: Int[np.ndarray, " size"]) -> Float[np.ndarray, " size"]:
        share = self.intra_class_correlation
        return share + (1 - share) / counts


def simulate_predictions(
    cohort: PredictedCohort, patient_aurocs: Sequence[float], *, correlation: float = 0.0, seed: int
) -> list[pd.DataFrame]:
    """Draw the prediction tables of trials that were tested on the same clips.

    Args:
        cohort: The patients.
        patient_aurocs: True AUROC at patient level, one per trial. Three or more classes: of each
            class against the rest, and so of their macro average.
        correlation: Correlation of the scores of two trials within a class, for patients and for
            clips of a patient alike.
        seed: Seed of the draw.

    Returns:
        One prediction table per trial.

    Raises:
        ValueError: If the correlation is not between 0 and 1.
    """
    if not 0 <= correlation <= 1:
        raise ValueError(f"correlation must be between 0 and 1, got {correlation}")
    rng = np.random.default_rng(seed)
    fewest, most = cohort.clips_per_patient
    labels = np.repeat(np.arange(len(cohort.classes)), list(cohort.class_sizes.values()))
    counts = rng.integers(fewest, most + 1, size=len(labels))
    clips = _clips(cohort, labels, counts)
    patients = clips.pop("patient").to_numpy()
    noise = _noise(cohort, patients, len(patient_aurocs), correlation, rng)
    truth = np.eye(len(cohort.classes))[labels[patients]] - 1 / len(cohort.classes)
    tables = []
    for auroc, own in zip(patient_aurocs, noise, strict=True):
        separation = cohort.separation(auroc)
        scores = separation * truth + own
        probabilities = (1 + scores / (_SPAN + separation)) / len(cohort.classes)
        columns = probability_columns(cohort.classes)
        tables.append(clips.assign(**dict(zip(columns, probabilities.T, strict=True))))
    return tables


def _clips(
    cohort: PredictedCohort,
    labels: Int[np.ndarray, " patient"],
    counts: Int[np.ndarray, " patient"],
) -> pd.DataFrame:
    """Whom and what every clip shows, in every fold and split that it stands in."""
    patients = np.repeat(np.arange(len(labels)), counts)
    numbers = np.concatenate([np.arange(count) for count in counts])
    names = pd.Series(patients).map("p{:03}".format)
    starts = numbers % _CLIPS_PER_VIDEO * _CLIP_FRAMES
    clips = pd.DataFrame(
        {
            # Classes stand one after the other, so every fold has its share of each.
            "fold": patients % cohort.folds,
            "split": "test",
            "group": names,
            "patient_id": names,
            "video": names + "_" + (numbers // _CLIPS_PER_VIDEO).astype(str) + ".mp4",
            "clip_start": starts,
            "clip_start_seconds": starts / _FRAME_RATE_HZ,
            "label": np.array(cohort.classes)[labels[patients]],
            "patient": patients,
        }
    )
    if not cohort.validation:
        return clips
    earlier = clips.assign(split="val", fold=(clips["fold"] - 1) % cohort.folds)
    return pd.concat([clips, earlier], ignore_index=True)


def _noise(
    cohort: PredictedCohort,
    patients: Int[np.ndarray, " clip"],
    num_trials: int,
    correlation: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "trial clip num_classes"]:
    """What scores hold beside the truth: variance 1, and zero in sum over the classes."""
    num_classes, share = len(cohort.classes), cohort.intra_class_correlation

    def draw(size: int) -> Float[np.ndarray, "trial unit num_classes"]:
        common = rng.standard_normal((1, size, num_classes))
        own = rng.standard_normal((num_trials, size, num_classes))
        values = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
        centred = values - values.mean(axis=2, keepdims=True)
        return np.asarray(centred / np.sqrt(1 - 1 / num_classes))

    by_patient = draw(int(patients.max()) + 1)[:, patients]
    return np.asarray(np.sqrt(share) * by_patient + np.sqrt(1 - share) * draw(len(patients)))
