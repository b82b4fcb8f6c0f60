"""Command line: one command per MLproject entry point, its options read from its configuration.

`python -m asd_experiments train --store store.zarr --backbone slow_50`
"""

import argparse
import importlib
import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

from pydantic import ValidationError

from asd_experiments import config
from asd_experiments.config import choices_of, info_of
from asd_experiments.errors import InputError, all_problems, did_you_mean, rule_of

# Set before PyTorch is imported: threads that wait by spinning slow each other down many times
# over as soon as two processes share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


class Command(NamedTuple):
    """A command: its configuration and the function that carries it out, imported when called."""

    config: type
    module: str
    function: str


COMMANDS = {
    "validate": Command(config.ValidateConfig, "asd_experiments.data.manifest", "validate"),
    "simulate": Command(config.SimulateConfig, "asd_experiments.simulation.cohort", "run_simulate"),
    "preprocess": Command(
        config.PreprocessConfig, "asd_experiments.tracking.preprocessing", "run_preprocess"
    ),
    "train": Command(config.TrainConfig, "asd_experiments.tracking.trial", "train"),
    "evaluate": Command(
        config.EvaluateConfig, "asd_experiments.tracking.evaluation", "run_evaluate"
    ),
    "scrub": Command(config.ScrubConfig, "asd_experiments.scrub.scrub", "scrub"),
    "sweep": Command(config.SweepConfig, "asd_experiments.search.sweep", "sweep"),
    "ablation": Command(config.AblationConfig, "asd_experiments.reporting.ablation", "ablation"),
    "promote": Command(config.PromoteConfig, "asd_experiments.registry.promote", "promote"),
    "explain": Command(config.ExplainConfig, "asd_experiments.tracking.explanation", "explain"),
    "predict": Command(config.PredictConfig, "asd_experiments.prediction.predict", "predict"),
}


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, check every value at once, and run the command."""
    options, unknown = _parser().parse_known_args(arguments)
    command = COMMANDS[options.command]
    given = {f.name: getattr(options, f.name) for f in fields(command.config)}
    given = {name: value for name, value in given.items() if value is not None}
    settings = check(command.config, given, unknown)
    function: Callable[[Any], object] = getattr(
        importlib.import_module(command.module), command.function
    )
    try:
        function(settings)
    except InputError as error:
        raise SystemExit(f"{options.command}: {error}") from error


def check(settings: type, given: dict[str, str], unknown: list[str]) -> Any:
    """Build a configuration, or leave with every problem listed.

    Args:
        settings: Configuration class.
        given: Value of each option that was given, as text.
        unknown: Words of the command line that belong to no option.

    Raises:
        SystemExit: If a value is wrong, missing or unknown; the message lists all of them.
    """
    names = [f.name for f in fields(settings)]
    strays = [word for word in unknown if word.startswith("-")] or unknown
    problems = [_unknown_option(word, names) for word in strays]
    try:
        result = settings(**given)
    except ValidationError as error:
        problems += [_problem(settings, e["loc"], e["msg"], given) for e in error.errors()]
    if problems:
        raise SystemExit(all_problems("with the parameters", problems))
    return result


def _problem(
    settings: type, place: tuple[int | str, ...], message: str, given: dict[str, str]
) -> str:
    rule = rule_of(message)
    if not place:  # a rule about several parameters names them itself
        return rule
    name = str(place[0])
    if name not in given:
        return f"{name}: must be given"
    hint = did_you_mean(given[name], choices_of(info_of(settings, name).annotation))
    return f"{name}: {rule}, got {given[name]!r}{hint}"


def _unknown_option(word: str, names: list[str]) -> str:
    hint = did_you_mean(word.split("=")[0], [f"--{name}" for name in names])
    return f"{word}: no such parameter{hint}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="asd_experiments", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in COMMANDS.items():
        summary = (command.config.__doc__ or "").splitlines()[0]
        subparser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        for field in fields(command.config):
            subparser.add_argument(
                f"--{field.name}", metavar="VALUE", help=_help(command.config, field.name)
            )
    return parser


def _help(settings: type, name: str) -> str:
    field = info_of(settings, name)
    parts = [(field.description or "").replace("\n", " ")]
    if choices := choices_of(field.annotation):
        parts.append(f"One of: {', '.join(choices)}.")
    if field.is_required():
        parts.append("Required.")
    elif field.default is not None:
        parts.append(f"Default: {config.as_text(field.default)}.")
    return " ".join(parts).replace("%", "%%")


if __name__ == "__main__":
    main()
