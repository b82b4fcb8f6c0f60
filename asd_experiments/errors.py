"""Errors that a user can mend, and what they say of a word that is none of the choices."""

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any


class InputError(ValueError):
    """What the user gave cannot be used; the message says the rule, the value and the remedy.

    The command line shows it without a traceback.
    """


def all_problems(where: str, problems: Collection[str]) -> str:
    """Count problems and list them, a line each.

    Args:
        where: What is wrong, such as `with the parameters`.
        problems: At least one.
    """
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return "\n  ".join([f"{count} {where}:", *problems])


def unknown_choice(kind: str, word: str, choices: Iterable[str]) -> str:
    """Say that a word is none of the choices, which they are, and which one is close.

    Args:
        kind: What is chosen, such as `fusion`.
        word: What was given.
        choices: What could have been.
    """
    known = list(choices)
    hint = did_you_mean(word, known)
    return f"unknown {kind} {word!r}; choose one of: {', '.join(known)}{hint}"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """What to add to an error about such a word; nothing if no choice is close."""
    known = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), known, n=1)
    return f"; did you mean {known[close[0]]!r}?" if close else ""


def rule_of(message: str) -> str:
    """The rule in a message of pydantic's, without what stands before it."""
    return message.removeprefix("Value error, ").removeprefix("Input ")


def told_problems(
    details: Iterable[Mapping[str, Any]],
    called: Callable[[str], str] = str,
    *,
    secret: Collection[str] = (),
) -> list[str]:
    """What a validation of pydantic's found, a sentence each.

    Args:
        details: Of its error.
        called: What a user calls a field.
        secret: Fields whose values may hold a password, and are not repeated.
    """
    return [
        f"{called('.'.join(map(str, detail['loc'])))}: {rule_of(detail['msg'])}"
        + ("" if detail["loc"][0] in secret else f", got {detail['input']!r}")
        for detail in details
    ]
