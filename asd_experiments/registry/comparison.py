"""Two versions on the same test patients, and whether a rule lets one take the other's place."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from asd_experiments.config import RuleName
from asd_experiments.errors import InputError
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.comparison import check_same_patients
from asd_experiments.evaluation.interval import Interval
from asd_experiments.evaluation.sampled import Estimate, Sampled, sample, tested
from asd_experiments.evaluation.wording import figure_text
from asd_experiments.tracking.anonymity import check_same_names
from asd_experiments.tracking.finished_trial import FinishedTrial

RULED_BY = "auroc"
"""Metric of the rules: it depends on no threshold."""

_ALWAYS = (RULED_BY, "balanced_accuracy", "accuracy")
_ERROR = 0.05
"""Of all comparisons with the same test patients together."""

_CANDIDATE, _CHAMPION = {0: 1.0}, {1: 1.0}


class UnlikePatientsError(InputError):
    """The test patients of two trials differ in more than who they are.

    Args:
        what: What cannot be done.
        why: Why; it may name patients.
    """

    def __init__(self, what: str, why: Exception) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what


@dataclass(frozen=True)
class Compared:
    """A candidate beside the champion."""

    num_patients: int
    """Test patients that both have, by whom they are compared."""

    num_own: tuple[int, int]
    """Test patients of the candidate and of the champion."""

    same_data: bool
    """Whether both were trained on the same clip store."""

    test_set: str
    """Names the patients by whom they are compared, without telling them."""

    figures: dict[str, tuple[Estimate, Estimate, Estimate]]
    """By metric: of the candidate, of the champion, and their difference with its p value."""

    ruling: Sampled
    """The metric of the rules."""

    def interval(self, number: int) -> Interval | None:
        """Interval of the difference in test AUROC, by which the rules decide.

        Of the first comparison with these patients it is the 95 % interval. The more there were,
        the wider it is: 1 - 0.05 / n for the n-th, so that who compares often is wrong no more
        often than who compares once.

        Args:
            number: Which comparison with these test patients it is, from 1.

        Returns:
            The interval; None where too few patients tell.

        References:
            Dunn 1961, https://doi.org/10.1080/01621459.1961.10482090 (Bonferroni's adjustment).
        """
        return self.ruling.difference(_CANDIDATE, _CHAMPION, level_of(number)).interval


@dataclass(frozen=True)
class Ruling:
    """What a rule says."""

    holds: bool
    why: str


def level_of(number: int) -> float:
    """Confidence level of the n-th comparison with the same test patients."""
    return 1 - _ERROR / number


def compare_with_champion(
    candidate: FinishedTrial,
    champion: FinishedTrial,
    metrics: Sequence[str] = (),
    *,
    seed: int = 0,
) -> Compared:
    """Compare two trials by the test patients that they share.

    Args:
        candidate: The one.
        champion: The other.
        metrics: Of `comparison.COMPARED_METRICS`, beside AUROC, balanced accuracy and accuracy.
        seed: Seed of the draws of patients.

    Raises:
        InputError: If they name patients differently, their classes differ, a patient's label or
            group does, or they share no more than half of the test patients of one of them.
    """
    check_same_names([candidate, champion])
    names = f"the candidate (run {candidate.run_id}) and the champion (run {champion.run_id})"
    own, other = (trial.predictions.cases("test", "patient") for trial in (candidate, champion))
    if (own.classes, own.positive) != (other.classes, other.positive):
        raise InputError(
            f"{names} cannot be compared: they tell {_classes(own)} and {_classes(other)} apart"
        )
    kept, kept_other = _shared(own, other)
    if 2 * len(kept) <= max(len(own), len(other)):
        raise InputError(
            f"{names} share {len(kept)} test patients, of {len(own)} and {len(other)}: too few to "
            "compare them patient by patient, which takes more than half of each. Train both on "
            "the same clip store, or move the alias with yes=true on other grounds"
        )
    try:
        check_same_patients(kept, kept_other)
    except ValueError as error:
        raise UnlikePatientsError(
            f"{names} cannot be compared patient by patient", error
        ) from error
    compared = tuple(dict.fromkeys((*_ALWAYS, *metrics)))
    sampled = sample([kept, kept_other], compared, seed=seed)
    figures = {
        metric: (
            drawn.estimate(_CANDIDATE),
            drawn.estimate(_CHAMPION),
            tested(drawn.difference(_CANDIDATE, _CHAMPION), kept, kept_other, metric),
        )
        for metric, drawn in sampled.items()
    }
    return Compared(
        num_patients=len(kept),
        num_own=(len(own), len(other)),
        same_data=candidate.data_digest == champion.data_digest,
        test_set=_name_of(kept),
        figures=figures,
        ruling=sampled[RULED_BY],
    )


def judge(compared: Compared, rule: RuleName, margin: float | None, number: int) -> Ruling:
    """Say whether a rule lets the candidate take the champion's place.

    Args:
        compared: Both.
        rule: superior: the lower limit of the difference in test AUROC is above 0; non_inferior:
            above minus the margin.
        margin: Largest loss of AUROC that is accepted, of non_inferior.
        number: Which comparison with these test patients it is, from 1.
    """
    bound = -(margin or 0.0) if rule == "non_inferior" else 0.0
    interval = compared.interval(number)
    if interval is None:
        return Ruling(False, f"rule {rule}: too few patients tell the two apart; it does not hold")
    holds = interval.low > bound
    limit, against = (figure_text(Estimate(value, None)) for value in (interval.low, bound))
    told = (
        f"rule {rule}: the lower limit of the difference in test AUROC "
        f"({100 * level_of(number):.3g} % interval) is {limit}, "
        f"{'above' if holds else 'not above'} {against}"
    )
    return Ruling(holds, f"{told}; it {'holds' if holds else 'does not hold'}")


def _shared(own: Cases, other: Cases) -> tuple[Cases, Cases]:
    ids = [cases.rows["patient_id"].astype(str) for cases in (own, other)]
    return (
        own.where(ids[0].isin(ids[1]).to_numpy()),
        other.where(ids[1].isin(ids[0]).to_numpy()),
    )


def _classes(cases: Cases) -> str:
    positive = "" if cases.positive is None else f" (positive: {cases.positive_class})"
    return f"{', '.join(cases.classes)}{positive}"


def _name_of(cases: Cases) -> str:
    """A hash of all patients together, from which none of them can be had."""
    patients = sorted(cases.rows["patient_id"].astype(str))
    return hashlib.sha256(json.dumps(patients).encode()).hexdigest()[:16]
