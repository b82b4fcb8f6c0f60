"""What a version tells of itself: tags that count its comparisons, and its description."""

import json
import re
from dataclasses import dataclass

from mlflow.artifacts import load_text
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from asd_experiments.registry.card import CARD_PAGE, CARD_TEXT, write_card
from asd_experiments.registry.versions import all_versions
from asd_experiments.tracking.finished_trial import FinishedTrial
from asd_experiments.tracking.links import artifact_link, run_link

CARD = "asd.model_card"
"""Tag of a version: where its card is."""

COMPARED_WITH = "asd.compared_with/"
"""Begins a tag of a version: a comparison with the version of this number, as JSON."""

_OURS = re.compile(r"(?:Test AUROC [^\n\[]*)?\[Model card\]\(")  # how our part begins
_MAX_LENGTH = 5000  # of a description, in the databases of MLflow's registry
_FIRST = (
    *("Intended use", "Caveats and recommendations", "How it was selected"),
    *("Quantitative analyses", "Evaluation data and training data", "Model details", "Metrics"),
)


@dataclass(frozen=True)
class Record:
    """A comparison of two trials, as a version's tag keeps it."""

    test_set: str
    """Names the test patients."""

    trials: list[str]
    """Runs of both, sorted."""

    number: int
    """Which comparison with these test patients it was, from 1."""

    run: str
    """Run of `promote`."""

    figures: dict[str, list[float | None]]
    """By metric: difference, its limits, its p value."""

    moved: bool
    """Whether the alias `champion` moved."""


def describe(version: ModelVersion, trial: FinishedTrial, comparison: str = "") -> None:
    """Write the card of a version, and its description.

    What somebody wrote before our part of the description stays.

    Args:
        version: The version.
        trial: The trial that it is from.
        comparison: Its latest comparison, in Markdown.
    """
    client = MlflowClient()
    write_card(trial)
    name, number = version.name, str(version.version)
    client.set_model_version_tag(name, number, CARD, f"runs:/{trial.run_id}/{CARD_PAGE}")
    own = _OURS.split(version.description or "", maxsplit=1)[0].rstrip()
    links = [
        artifact_link(trial.run_id, CARD_PAGE, "Model card"),
        run_link(trial.run, "the trial that it is from"),
    ]
    auroc = trial.run.data.metrics.get("test/patient/auroc")
    if auroc is not None:  # the list of versions shows the first words, and no links
        links.insert(0, f"Test AUROC {auroc:.3f}")
    parts = [part for part in (own, " · ".join(links), comparison) if part]
    card = load_text(f"runs:/{trial.run_id}/{CARD_TEXT}")
    room = _MAX_LENGTH - sum(len(part) + 2 for part in parts)
    text = "\n\n".join([*parts, shortened(card, room)])
    client.update_model_version(name, number, text[:_MAX_LENGTH])


def shortened(card: str, room: int) -> str:
    """As much of a card as there is room for: what limits the use first, in the card's order.

    Args:
        card: In Markdown.
        room: Characters.
    """
    lines = [line for line in card.splitlines() if not line.startswith("![")]
    lead, *sections = "\n".join(lines).split("\n## ")
    lead = lead.partition("\n")[2].strip()
    told = "The whole card, with figures: the first link."
    by_title = {section.partition("\n")[0]: section for section in sections}
    kept: set[str] = set()
    left = room - len(lead) - len(told) - 4
    for title in _FIRST:
        if title in by_title and (length := len(by_title[title]) + 5) <= left:
            kept.add(title)
            left -= length
    shown = [f"## {section.strip()}" for title, section in by_title.items() if title in kept]
    return "\n\n".join([lead, *shown, told])


def keep(version: ModelVersion, champion: ModelVersion, record: Record) -> None:
    """Write a comparison on a version."""
    MlflowClient().set_model_version_tag(
        version.name,
        str(version.version),
        f"{COMPARED_WITH}{champion.version}",
        json.dumps(vars(record)),
    )


def number_of(test_set: str, trials: list[str]) -> int:
    """Which comparison with these test patients one is, counting those of all versions.

    A comparison of the same two trials again is the same comparison.

    Args:
        test_set: Names the patients.
        trials: Runs of both trials, sorted.
    """
    numbers: dict[tuple[str, ...], int] = {}
    for version in all_versions():
        for tag, value in version.tags.items():
            if tag.startswith(COMPARED_WITH):
                record = json.loads(value)
                if record["test_set"] == test_set:
                    numbers[tuple(record["trials"])] = record["number"]
    return numbers.get(tuple(trials), len(numbers) + 1)
