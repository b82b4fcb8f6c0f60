"""What a user gives a plugin as a dictionary, checked: all that is wrong with it at once."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from asd_experiments.errors import InputError, all_problems, did_you_mean, told_problems

_Given = TypeVar("_Given")


def checked(
    kind: type[_Given],
    given: Mapping[str, Any],
    *,
    what: str,
    example: str,
    secret: Collection[str] = (),
) -> _Given:
    """Check values by a pydantic dataclass that forbids other keys.

    Args:
        kind: The dataclass.
        given: Values by key.
        what: What a user calls the dictionary.
        example: What to add to an error about a key that is missing.
        secret: Keys whose values may hold a password, and are not repeated.

    Raises:
        InputError: If anything is wrong; the message lists all problems.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    problems = [f"{k}: no such key{did_you_mean(str(k), names)}" for k in given if k not in names]
    known = {key: value for key, value in given.items() if key in names}
    try:
        made = TypeAdapter(kind).validate_python(known)
    except ValidationError as error:
        for found in error.errors():
            name = str(found["loc"][0])
            if name in known:
                problems += told_problems([found], secret=secret)
            else:
                problems.append(f"{name}: must be given{example}")
    if problems:
        raise InputError(all_problems(f"with {what}", problems))
    return made
