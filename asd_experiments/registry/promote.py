"""The command `promote`: a version beside the champion, and whether it takes its place."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from asd_experiments.config import PromoteConfig
from asd_experiments.errors import InputError
from asd_experiments.evaluation.sampled import Estimate
from asd_experiments.evaluation.wording import figure_text, p_text, title_of
from asd_experiments.registry.card import CARD_PAGE
from asd_experiments.registry.comparison import (
    Compared,
    UnlikePatientsError,
    compare_with_champion,
    judge,
    level_of,
)
from asd_experiments.registry.document import Section, Table, section_markdown
from asd_experiments.registry.records import CARD, Record, describe, keep, number_of
from asd_experiments.registry.selection import selected_by
from asd_experiments.registry.versions import (
    CHAMPION,
    champion_of,
    known_version,
    register,
    told,
    trial_of,
)
from asd_experiments.tracking.artifacts import log_table
from asd_experiments.tracking.finished_trial import FinishedTrial
from asd_experiments.tracking.links import artifact_link, run_link, version_link
from asd_experiments.tracking.runs import (
    COLLAPSED,
    command_run,
    log_metrics,
    log_parameters,
    use_tracking_store,
    where_to_see,
)

_TEXT, _NUMBERS = "comparison.md", "comparison.csv"


@dataclass(frozen=True)
class _Decision:
    """Whether the alias moves, and why."""

    moves: bool
    why: str


def promote(config: PromoteConfig) -> str:
    """Compare a version with the champion, write that on the version, and move the alias if so.

    Returns:
        Id of the command's run.

    Raises:
        InputError: If the version is unknown or from no finished trial, is the champion already,
            or cannot be compared with it; before anything is registered or moved.
    """
    use_tracking_store()
    version = known_version(config.name, config.version) if config.version else None
    if version is not None:
        trial = trial_of(version, "version")
    else:
        trial = FinishedTrial.read(str(config.run))
    champion = champion_of(config.name)
    beside = _beside(config, trial, champion)
    name = told(version) if version else f"{config.name} of {trial.name}"
    with command_run(config.run_name, f"promote {name}", discreet=True) as run_id:
        version = version or register(trial.run, config.name)
        if isinstance(beside, _Decision):
            decision = beside
            section = Section(told(version), [_decided(version, champion, decision)])
        else:
            champion, reigning, compared = beside
            trials = sorted([trial.run_id, reigning.run_id])
            number = number_of(compared.test_set, trials)
            decision = _decide(config, trial, compared, number)
            section = _section(version, champion, compared, number, decision)
            record = Record(
                compared.test_set, trials, number, run_id, _differences(compared), decision.moves
            )
            keep(version, champion, record)
            log_table(run_id, _frame(compared, number), _NUMBERS)
            _log_figures(run_id, compared, number)
            if CARD not in champion.tags:
                describe(champion, reigning)
        text = section_markdown(section)
        describe(version, trial, text)
        if decision.moves:
            MlflowClient().set_registered_model_alias(config.name, CHAMPION, str(version.version))
        _log(run_id, config, version, champion, trial, text)
    print(f"\n{text}\n")
    print(f"Card:     {trial.run.info.artifact_uri}/{CARD_PAGE}")
    print("\n".join(where_to_see(run_id)))
    return run_id


def _beside(
    config: PromoteConfig, trial: FinishedTrial, champion: ModelVersion | None
) -> tuple[ModelVersion, FinishedTrial, Compared] | _Decision:
    """The champion, its trial and the comparison; where there is none, what comes of that.

    Raises:
        InputError: If the champion is of the same trial, or cannot be compared with and nobody
            says that the alias moves nevertheless.
    """
    if champion is None:
        return _without_champion(config, trial)
    try:
        reigning = trial_of(champion, f"alias {CHAMPION}")
        is_another = reigning.run_id != trial.run_id
        compared = _compare(config, trial, reigning) if is_another else None
    except InputError as error:
        if not config.yes:
            raise
        print(error)  # what is kept names no patient
        why = error.what if isinstance(error, UnlikePatientsError) else str(error)
        return _Decision(True, f"yes=true, without a comparison ({why})")
    if compared is None:
        raise InputError(
            f"{told(champion)} is the champion already and from the same trial (run "
            f"{trial.run_id}); there is nothing to compare"
        )
    return champion, reigning, compared


def _compare(config: PromoteConfig, trial: FinishedTrial, reigning: FinishedTrial) -> Compared:
    chosen_by = [metric for t in (trial, reigning) if (metric := selected_by(t)) is not None]
    return compare_with_champion(trial, reigning, chosen_by, seed=config.seed)


def _collapsed(trial: FinishedTrial) -> str:
    folds = trial.run.data.tags.get(COLLAPSED)
    return f", although its networks have collapsed ({folds})" if folds else ""


def _without_champion(config: PromoteConfig, trial: FinishedTrial) -> _Decision:
    if config.yes:
        why = f"yes=true; there was no champion to compare it with{_collapsed(trial)}"
        return _Decision(True, why)
    return _Decision(False, "there is nothing to compare with; yes=true gives it to this version")


def _decide(
    config: PromoteConfig, trial: FinishedTrial, compared: Compared, number: int
) -> _Decision:
    if config.yes:
        return _Decision(True, f"yes=true, whatever the figures say{_collapsed(trial)}")
    if config.rule is None:
        return _Decision(False, "no rule= and no yes=true was given")
    if folds := trial.run.data.tags.get(COLLAPSED):
        networks = f"the networks of {trial.name} have collapsed ({folds})"
        why = f"{networks}, so no rule= moves it; yes=true would"
        return _Decision(False, why)
    ruling = judge(compared, config.rule, config.margin, number)
    return _Decision(ruling.holds, ruling.why)


def _section(
    version: ModelVersion,
    champion: ModelVersion,
    compared: Compared,
    number: int,
    decision: _Decision,
) -> Section:
    rows = [
        [
            title_of(metric),
            _text(own),
            _text(other),
            _text(difference, signed=True),
            _p_of(difference),
        ]
        for metric, (own, other, difference) in compared.figures.items()
    ]
    columns = [
        f"{compared.num_patients} test patients",
        f"version {version.version} [95 % CI]",
        f"version {champion.version} (champion)",
        "difference, paired [95 % CI]",
        "p (test)",
    ]
    if number > 1:
        columns += [f"p, adjusted for {number} comparisons"]
        for row, (_, _, difference) in zip(rows, compared.figures.values(), strict=True):
            row.append(p_text(None if difference.p is None else min(1.0, number * difference.p)))
    return Section(
        f"{told(version)} beside version {champion.version}, the champion",
        [
            _decided(version, champion, decision),
            Table(columns, rows),
            _verdict(version, champion, compared, number),
            f"Comparison {number} with these test patients. Every choice by test figures uses them "
            "up: the more versions are compared, the better the best of them looks by chance. "
            "Report a figure of patients that no choice was made by.",
            *_differences_in_data(compared),
        ],
    )


def _decided(version: ModelVersion, champion: ModelVersion | None, decision: _Decision) -> str:
    own = f"version {version.version}"
    if champion is None:
        if decision.moves:
            return f"The alias {CHAMPION} goes to {own}: {decision.why}."
        return f"No version has the alias {CHAMPION}: {decision.why}."
    other = f"version {champion.version}"
    if decision.moves:
        return f"The alias {CHAMPION} moves from {other} to {own}: {decision.why}."
    return f"The alias {CHAMPION} stays with {other}: {decision.why}."


def _verdict(version: ModelVersion, champion: ModelVersion, compared: Compared, number: int) -> str:
    """What the interval of the AUROC's difference allows to be said."""
    interval = compared.interval(number)
    level = f"{100 * level_of(number):.3g} % interval"
    if interval is None:
        return "Too few patients tell the two apart for an interval of the difference."
    if interval.low > 0 or interval.high < 0:
        word = "better" if interval.low > 0 else "worse"
        return (
            f"By AUROC version {version.version} is {word} than version {champion.version} "
            f"({level} of the difference)."
        )
    ends = " to ".join(figure_text(Estimate(end, None)) for end in interval)
    return (
        f"By AUROC no difference is shown ({level}: {ends}). That is no proof that they are equal."
    )


def _differences_in_data(compared: Compared) -> Sequence[str]:
    notes = []
    if set(compared.num_own) != {compared.num_patients}:
        own, other = compared.num_own
        notes.append(
            f"The versions were tested on {own} and {other} patients; the {compared.num_patients} "
            "that they share are compared."
        )
    if not compared.same_data:
        notes.append("The versions were trained on different clip stores.")
    return notes


def _differences(compared: Compared) -> dict[str, list[float | None]]:
    return {
        metric: [difference.value, *(difference.interval or (None, None)), difference.p]
        for metric, (_, _, difference) in compared.figures.items()
    }


def _frame(compared: Compared, number: int) -> pd.DataFrame:
    rows = []
    for metric, (own, other, difference) in compared.figures.items():
        row: dict[str, object] = {"metric": metric}
        for name, figure in (("version", own), ("champion", other), ("difference", difference)):
            low, high = figure.interval or (None, None)
            row |= {name: figure.value, f"{name}_ci_low": low, f"{name}_ci_high": high}
        row |= {"p": difference.p, "test": difference.test, "num_comparisons": number}
        rows.append(row)
    return pd.DataFrame(rows)


def _log_figures(run_id: str, compared: Compared, number: int) -> None:
    values = {"num_patients": float(compared.num_patients), "num_comparisons": float(number)}
    for metric, numbers in _differences(compared).items():
        for end, value in zip(("", "_ci_low", "_ci_high", "_p"), numbers, strict=True):
            if value is not None:
                values[f"difference/{metric}{end}"] = value
    log_metrics(run_id, values)


def _log(
    run_id: str,
    config: PromoteConfig,
    version: ModelVersion,
    champion: ModelVersion | None,
    trial: FinishedTrial,
    text: str,
) -> None:
    client = MlflowClient()
    client.set_tag(run_id, "asd.level", "promotion")
    log_parameters(run_id, {k: v for k, v in asdict(config).items() if v is not None})
    client.log_text(run_id, text, _TEXT)
    links = [
        version_link(version.name, str(version.version), told(version)),
        artifact_link(trial.run_id, CARD_PAGE, "its card"),
        run_link(trial.run, "its trial"),
    ]
    if champion is not None:
        number = str(champion.version)
        links.append(version_link(champion.name, number, f"version {number}"))
    client.set_tag(run_id, MLFLOW_RUN_NOTE, f"{' · '.join(links)}\n\n{text}")


def _text(estimate: Estimate, *, signed: bool = False) -> str:
    return figure_text(estimate, signed=signed) or "undefined"


def _p_of(difference: Estimate) -> str:
    return f"{p_text(difference.p)} ({difference.test})" if difference.p is not None else ""
