"""Files that a user names."""

from pathlib import Path

from asd_experiments.errors import InputError


def read_file(file: Path, parameter: str) -> bytes:
    """Content of a file.

    Args:
        file: The file.
        parameter: The parameter that named it, such as `flow_weights`.

    Raises:
        InputError: If it is missing or cannot be read.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(no_file(file, parameter)) from None
    except OSError as error:
        raise InputError(f"{parameter}: {str(file)!r} cannot be read ({error.strerror})") from None


def no_file(file: Path, parameter: str) -> str:
    """Say that the file that a parameter names does not exist."""
    return f"{parameter}: there is no file {str(file)!r}"
